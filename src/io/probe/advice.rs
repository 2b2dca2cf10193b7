//! What a user can do about an answer of the kernel.

use std::io;

/// The advice for an answer of the kernel.
pub(super) fn advice(source: &io::Error) -> String {
    let fallback = "appends work through the std backend with the same guarantee";
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            match sysctl.as_deref().map(str::trim) {
                Ok("1") => "sysctl kernel.io_uring_disabled is 1: only members of the group \
                            kernel.io_uring_group and processes with CAP_SYS_ADMIN may use it; \
                            join the group or set the sysctl to 0"
                    .to_owned(),
                Ok("2") => {
                    "sysctl kernel.io_uring_disabled is 2: it is off for every process; set it to 0"
                        .to_owned()
                }
                other => format!(
                    "sysctl kernel.io_uring_disabled is {}, so a seccomp filter refuses it, as \
                     those of containers do: allow io_uring_setup, io_uring_enter and \
                     io_uring_register in the filter",
                    other.unwrap_or("absent")
                ),
            }
        }
        Some(libc::ENOSYS) => "the kernel or the sandbox has no io_uring (a container's seccomp \
                               filter and gVisor answer this too): allow io_uring_setup, \
                               io_uring_enter and io_uring_register"
            .to_owned(),
        Some(libc::ENOMEM) => {
            "raise the limit on locked memory (ulimit -l, LimitMEMLOCK=) or lower the depth"
                .to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit on open files (ulimit -n, LimitNOFILE=)".to_owned()
        }
        Some(libc::EOPNOTSUPP) => {
            format!("the platform or the file system does not support it; {fallback}")
        }
        Some(libc::EINVAL) => {
            format!("the kernel may be too old (io_uring needs 5.11 here); {fallback}")
        }
        _ => fallback.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_advice() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EMFILE, libc::EINVAL, 5] {
            assert!(!advice(&io::Error::from_raw_os_error(errno)).is_empty());
        }
    }
}
