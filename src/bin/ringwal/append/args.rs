//! The options of `ringwal append`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::options::engine::EngineArgs;
use crate::options::format::Framing;
use crate::options::parse::{parse_size, parse_threads};

/// `ringwal append`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGINT, SIGTERM and SIGHUP stop reading, make durable and acknowledge what was \
appended, close the log and exit 0; a second SIGINT or SIGTERM ends the process at once, as \
SIGKILL would. If standard output closes while acknowledgements are printed, it stops in the same \
way and exits 1."
)]
pub(crate) struct AppendArgs {
    /// The log's directory; made if it is not there. An event log or a key-value log is refused.
    pub(crate) dir: PathBuf,
    /// How records lie in standard input.
    #[arg(long, value_enum, default_value_t = Framing::Lines)]
    pub(crate) framing: Framing,
    /// Append N made-up records instead of reading standard input, the same ones every time.
    #[arg(long, value_name = "N", conflicts_with = "framing")]
    pub(crate) generate: Option<u64>,
    /// The length of a made-up record.
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = parse_generated,
          requires = "generate")]
    pub(crate) size: usize,
    /// How many threads append; they share the input.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub(crate) threads: NonZeroUsize,
    /// How many appends each thread has unacknowledged at most; 1 appends a record and waits for
    /// it before it takes the next.
    #[arg(long, value_name = "N", default_value = "1024")]
    pub(crate) window: NonZeroUsize,
    /// Print `SEQ DIGEST` for each record the moment it is durable, as --durability says, one
    /// flushed line each. Not with --durability queued, which waits for nothing.
    #[arg(long)]
    pub(crate) acks: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// The longest record that is made up.
const GENERATED_BYTES_MAX: usize = 1 << 30;

fn parse_generated(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        bytes if bytes <= GENERATED_BYTES_MAX => Ok(bytes),
        _ => Err(format!("expected at most {GENERATED_BYTES_MAX}")),
    }
}
