//! Backups of a log, also of one that is in use: which ways are safe, which are not, and why.
