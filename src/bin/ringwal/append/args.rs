//! The options of `ringwal append`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::options::engine::EngineArgs;
use crate::options::format::Framing;
use crate::options::parse::{parse_size, parse_threads};

/// `ringwal append`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "On SIGINT, SIGTERM or SIGHUP, append stops reading, makes the appended records \
durable and acknowledges them, closes the log and exits 0. A second SIGINT or SIGTERM ends the \
process at once, as SIGKILL would. If standard output closes while acknowledgements are printed, \
append stops in the same way and exits 1."
)]
pub(crate) struct AppendArgs {
    /// The log's directory; created if missing. An event log or a key-value log is refused.
    pub(crate) dir: PathBuf,
    /// The framing of standard input.
    #[arg(long, value_enum, default_value_t = Framing::Lines)]
    pub(crate) framing: Framing,
    /// Append N generated records instead of reading standard input; they are the same every time.
    #[arg(long, value_name = "N", conflicts_with = "framing")]
    pub(crate) generate: Option<u64>,
    /// The length of a generated record.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = parse_generated,
          requires = "generate")]
    pub(crate) size: usize,
    /// Number of appending threads, which share the input.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub(crate) threads: NonZeroUsize,
    /// Maximum number of unacknowledged appends per thread; 1 appends a record and waits for it
    /// before taking the next.
    #[arg(long, value_name = "N", default_value = "1024")]
    pub(crate) window: NonZeroUsize,
    /// Print `SEQ DIGEST` for each record as soon as it is durable according to --durability, one
    /// flushed line each. Not with --durability queued, which waits for nothing.
    #[arg(long)]
    pub(crate) acks: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// The longest record that is generated.
const GENERATED_BYTES_MAX: usize = 1 << 30;

fn parse_generated(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        bytes if bytes <= GENERATED_BYTES_MAX => Ok(bytes),
        _ => Err(format!("expected at most {GENERATED_BYTES_MAX}")),
    }
}
