//! How much damage a log detects: measured for every kind of damage, at every place of small logs
//! of fifteen shapes.
//!
//! `scripts/damage-table.sh` creates logs (one segment and many, single records and large batches,
//! truncated at either end, with a checkpoint, after a torn tail, closed and not closed), damages
//! each in one place at a time, and opens it under both policies. A model that was kept while the
//! log was written decides which outcomes are allowed: it knows the acknowledged records, and which
//! parts of the log testify to them.
//!
//! # The results
//!
//! - **refused**: opening fails with an error that names the file, the byte and the records, and
//!   changes nothing. `verify` reports the same.
//! - **told**: every record is there, but one slot of `state` is lost and the older slot counts.
//!   The report says so ([`Recovery::state_torn`](crate::Recovery::state_torn)). The last
//!   checkpoint, truncation or clean close may be undone.
//! - **harmless**: every acknowledged record is there, unchanged.
//! - **torn**: the damaged batch and everything after it is cut off as a torn tail. Nothing in the
//!   log testifies to those records.
//! - **older**: the whole `state` was replaced by an earlier valid one.
//!
//! *Detected* is the share of the harmful places that were refused or told. One run of all 899,749
//! places took 180 s on two busy processors; the script also prints each shape by kind.
//!
//! ```text
//! by kind                     places refused    told harmless    torn older detected
//! bit in a batch header         5696    5056       0        0     640     0   88.7 %
//! bit in a record head          1336    1232       0        0     104     0   92.2 %
//! bit in record data           21924   17429       0        0    4495     0   79.4 %
//! bit in padding              356361       0       0   356361       0     0        -
//! bit in state                122880   28672   32768    61440       0     0  100.0 %
//! zeroed                        1023     246       0      717      60     0   80.3 %
//! garbage                       1023     246       0      717      60     0   80.3 %
//! two blocks swapped             538     445       0       55      38     0   92.1 %
//! block written elsewhere       1076     651       0      329      96     0   87.1 %
//! block of another log           662     285       0      306      71     0   80.0 %
//! segment cut                 385317  123308       0   170889   91120     0   57.5 %
//! segment grown                  656       0       0      656       0     0        -
//! segment missing                 41      32       0        0       9     0   78.0 %
//! segment twice                  399     316       0       83       0     0  100.0 %
//! segment renamed                497     472       0        0      25     0   94.9 %
//! state replaced                 320     149      31      112       0    28   86.5 %
//! all                         899749  178539   32799   591665   96718    28   68.5 %
//!
//! by shape                    places refused    told harmless    torn older detected
//! after a torn tail            90915   13273       0    69141    8501     0   60.9 %
//! after truncate_after         25282    9087    4101    12092       0     2   99.9 %
//! after truncate_before        90919   13223       0    69209    8487     0   60.9 %
//! big batches, crashed         74188   18189       0    27207   28792     0   38.7 %
//! checkpoint, crashed          74066   13219    4098    48396    8350     3   67.4 %
//! cut and continued            91239    9611    4101    64940   12585     2   52.1 %
//! cut twice, closed            18012    5766    4101     8141       0     4   99.9 %
//! event log, crashed           50103   13324    4100    32468     208     3   98.8 %
//! many lives, closed           34286   14073    4098    16107       0     8   99.9 %
//! one segment, closed          41394   17198    4100    20093       0     3   99.9 %
//! one segment, crashed         74062    4664       0    52735   16663     0   21.8 %
//! recycled, crashed            83011    9111       0    69513    4387     0   67.4 %
//! several segments, crashed   124701   30968       0    85240    8493     0   78.4 %
//! tiny segments, closed         9800    1493    4100     4204       0     3   99.9 %
//! tiny segments, crashed       17771    5340       0    12179     252     0   95.4 %
//! ```
//!
//! # How to read it
//!
//! - **Damage with a witness is refused.** No record is lost to which a later batch, a later
//!   segment or `state` testifies; the test fails at the first such place.
//! - **Only the end of a log that was not closed is torn.** Nothing after the last batch of such a
//!   log could testify to it. So nothing in a closed log is torn, and the detected share grows with
//!   the number of batches. These logs have three to twelve batches, so the last batch is a large
//!   part of them; among a million batches it is one in a million.
//! - **A log that pauses has a witness for its last batch, too.** After a second without appends
//!   the watermark is noted in `state` ([`note_after`](crate::Builder::note_after)). The measured
//!   logs had no pause.
//! - **Cutting a file** of a log that was not closed can remove many batches at once, and none
//!   after the cut is left to testify. That is most of the torn places in the table. Rotation
//!   limits such a loss to the last segment; a checkpoint or a truncation testifies to everything
//!   that was durable at its time.
//! - **Batches that were in flight together** do not testify to each other: each carries the
//!   durable watermark of the time at which it was sealed. The measured logs have one batch in
//!   flight.
//! - **A block of another log** never counts, because the digest of a batch is keyed by its log and
//!   its segment. At the end of a log that was not closed it is cut off like any other damage; at
//!   the beginning of a segment it is refused by name.
//! - **An older `state`** is detected if it names a segment that is missing. A `state` from before
//!   a checkpoint only brings back the older checkpoint.
