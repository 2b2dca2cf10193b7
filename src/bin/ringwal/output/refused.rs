//! Messages for a command line that does not parse, and for help requests.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error};
use clap::{Arg, Command};

use crate::output::exit::{Failure, USAGE};
use crate::output::stream::{print, say_also, stderr_is_terminal, stdout_is_terminal};

/// Prints help to standard output and anything else to standard error. Returns the exit code.
///
/// # Errors
///
/// Help could not be printed.
pub(crate) fn tell(error: &Error, mut command: Command) -> Result<u8, Failure> {
    if error.exit_code() == 0 {
        print(shown(&error.render(), stdout_is_terminal()))?;
        return Ok(0);
    }
    command.build();
    match variable_of(error, &command) {
        Some((name, value)) if value.is_empty() => say_also(format_args!(
            "ringwal: the environment variable {name} is empty: give it a value, or unset it"
        )),
        Some((name, value)) => say_also(format_args!(
            "{}ringwal: that value is from the environment variable {name}, which is {value:?}",
            shown(&error.render(), stderr_is_terminal())
        )),
        None => say_also(shown(&error.render(), stderr_is_terminal()).trim_end()),
    }
    Ok(USAGE)
}

fn shown(text: &StyledStr, is_terminal: bool) -> String {
    let has_colors = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    if has_colors { text.ansi().to_string() } else { text.to_string() }
}

/// The name and value of the environment variable that supplied the refused value.
fn variable_of(error: &Error, command: &Command) -> Option<(String, String)> {
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_named = |arg: &&Arg| arg.to_string() == *named;
    let args = command.get_subcommands().flat_map(Command::get_arguments);
    let arg = args.filter(|arg| arg.get_env().is_some()).find(is_named)?;
    let flag = format!("--{}", arg.get_long()?);
    let is_flag = |given: String| {
        given.strip_prefix(&flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    if std::env::args_os().any(|given| is_flag(given.to_string_lossy().into_owned())) {
        return None;
    }
    let name = arg.get_env()?;
    let value = std::env::var_os(name)?;
    Some((name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}
