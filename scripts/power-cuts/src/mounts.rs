//! Commands of the system that make and mount file systems.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::model::Broken;

/// Runs a command; what it says is in the error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, Broken> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A file mounted as a disk, until it is dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    dir: PathBuf,
}

impl Mount {
    pub(crate) fn new(kind: &str, image: &Path, dir: &Path) -> Result<Mount, Broken> {
        let options = match kind {
            // Several copies of one file system are mounted, one after the other.
            "xfs" => "loop,nouuid",
            _ => "loop",
        };
        let paths = [image, dir].map(|path| path.to_str().unwrap_or_default());
        run("mount", &["-t", kind, "-o", options, paths[0], paths[1]])?;
        Ok(Mount { dir: dir.to_path_buf() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[self.dir.to_str().unwrap_or_default()]) {
            eprintln!("power-cuts: {error}");
        }
    }
}
