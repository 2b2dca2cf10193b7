//! How much damage a log notices, measured: every kind of it, at every place of small logs of
//! fifteen shapes.
//!
//! `scripts/damage-table.sh` makes logs (one segment and many, single records and large batches,
//! truncated at either end, with a checkpoint, after a torn tail, closed and not closed), damages
//! each in one place at a time, and opens it under both policies. What may happen is decided by a
//! model that was kept while the log was made: which records were acknowledged, and what of the
//! rest of the log testifies to them.
//!
//! # What came of it
//!
//! - **refused**: opening is an error that names the file, the byte and the records, and changes
//!   nothing; `verify` says the same.
//! - **told**: every record is there, but one slot of `state` is gone and the older one counts. The
//!   report says so ([`Recovery::state_torn`](crate::Recovery::state_torn)). The last checkpoint,
//!   truncation or clean close may be undone.
//! - **harmless**: everything acknowledged is there, as it was.
//! - **torn**: the damaged batch and what came behind it are cut off as a torn tail. Nothing in the
//!   log testifies to them.
//! - **older**: `state` as a whole was replaced by one that had been valid earlier.
//! - **mistaken**: a whole valid batch of another log, with the same number at the same place, is
//!   taken for this log's, because nothing of the segment is left that contradicts it.
//!
//! *Detected* is the share of what did harm that was refused or told. One run of all 816,738 places
//! took 296 s on two busy processors; the script prints each shape by kind as well.
//!
//! ```text
//! by kind                     places refused    told harmless    torn older mistaken detected
//! bit in a batch header         5376    4800       0        0     576     0        0   89.2 %
//! bit in a record head          1296    1200       0        0      96     0        0   92.5 %
//! bit in record data           21668   17226       0        0    4442     0        0   79.4 %
//! bit in padding              319866       0       0   319866       0     0        0        -
//! bit in state                114688   24576   32768    57344       0     0        0  100.0 %
//! zeroed                         927     235       0      636      56     0        0   80.7 %
//! garbage                        927     235       0      636      56     0        0   80.7 %
//! two blocks swapped             483     411       0       40      32     0        0   92.7 %
//! block written elsewhere        966     611       0      269      86     0        0   87.6 %
//! block of another log           596     265       0      255      60     0       16   77.7 %
//! segment cut                 348206  118965       0   142342   86899     0        0   57.7 %
//! segment grown                  608       0       0      608       0     0        0        -
//! segment missing                 38      30       0        0       8     0        0   78.9 %
//! segment twice                  351     301       0       50       0     0        0  100.0 %
//! segment renamed                443     429       0        0      14     0        0   96.8 %
//! state replaced                 299     120      31      106       0    42        0   78.2 %
//! all                         816738  169404   32799   522152   92325    42       16   68.6 %
//!
//! by shape                    places refused    told harmless    torn older mistaken detected
//! after a torn tail            90915   13273       0    69141    8500     1        0   60.9 %
//! after truncate_after         25282    9086    4101    12092       0     3        0   99.9 %
//! after truncate_before        90919   13223       0    69209    8486     1        0   60.9 %
//! big batches, crashed         74188   18188       0    27207   28792     1        0   38.7 %
//! checkpoint, crashed          74066   13219    4098    48396    8349     4        0   67.4 %
//! cut and continued            91239    9611    4101    64940   12584     3        0   52.1 %
//! cut twice, closed            18012    5763    4101     8141       0     5        2   99.9 %
//! event log, crashed           50103   13322    4100    32468     208     4        1   98.7 %
//! many lives, closed           34286   14071    4098    16107       0     9        1   99.9 %
//! one segment, closed          41394   17197    4100    20093       0     4        0   99.9 %
//! one segment, crashed         74062    4664       0    52735   16662     1        0   21.8 %
//! several segments, crashed   124701   30968       0    85240    8492     1        0   78.4 %
//! tiny segments, closed         9800    1486    4100     4204       0     4        6   99.8 %
//! tiny segments, crashed       17771    5333       0    12179     252     1        6   95.3 %
//! ```
//!
//! # How to read it
//!
//! - **Whatever has a witness is refused.** There is no place where something is lost that a later
//!   batch, a later segment or `state` testifies to; the test fails at the first one.
//! - **What is torn is the end of a log that was not closed.** The last batch of such a log has
//!   nothing behind it that could testify. That is why of closed logs nothing is torn, and why the
//!   share of what is detected grows with the number of batches: these logs have three to twelve,
//!   so the last one is a large part of them. Of a million batches it is one in a million.
//! - **Cutting a file** of a log that was not closed can take many batches at once, and none behind
//!   the cut is left to testify: most of what is torn in the table. Rotation limits it to the last
//!   segment; a checkpoint or a truncation testifies to everything that was durable when it was
//!   made.
//! - **Batches that were in flight together** do not testify to each other: each carries what was
//!   durable when it was sealed. The measured logs have one in flight.
//! - **Another log's block** is recognised by its numbers, and within a segment by the salt. A
//!   segment that has only one batch, replaced as a whole, is not recognised.
//! - **An older `state`** is recognised when a segment is missing that it says is there. A `state`
//!   from before a checkpoint only has the older checkpoint.
