//! Sets up a ring with the best set of flags that the kernel accepts, or tells what it refused.
//!
//! The sets are tried from the best to the plainest. EINVAL means that the kernel does not know a
//! flag, so the next set is tried; any other answer is final. The kernel's version decides nothing,
//! because distributions backport features.

use std::io;

use io_uring::{Builder, IoUring, Probe, cqueue, opcode, squeue};

use crate::io::refuse::{RefuseAt, refused_by_test};

/// A ring that has all that the queue needs.
pub(super) struct SetUpRing {
    pub(super) ring: IoUring,
    /// The set of flags, in words.
    pub(super) flags: &'static str,
    /// A linked write that succeeds can leave its completion out.
    pub(super) skips_success: bool,
}

/// What the kernel refused.
#[derive(Debug)]
pub(crate) struct SetupRefused {
    /// Which step, in words.
    pub(crate) step: String,
    /// The kernel's answer.
    pub(crate) source: io::Error,
}

fn refused(step: &str, source: io::Error) -> SetupRefused {
    SetupRefused { step: step.to_owned(), source }
}

/// A ring for at least `entries` submissions, or what was refused.
pub(super) fn set_up(entries: u32) -> Result<SetUpRing, SetupRefused> {
    let (ring, flags) =
        set_up_with_fallback(entries).map_err(|source| refused("io_uring set-up", source))?;
    let missing = |what: &str| {
        let answer = io::Error::new(io::ErrorKind::Unsupported, format!("the kernel lacks {what}"));
        refused("io_uring features", answer)
    };
    if !ring.params().is_feature_nodrop() {
        return Err(missing("NODROP (5.5): completions could be lost"));
    }
    if !ring.params().is_feature_ext_arg() {
        return Err(missing("EXT_ARG (5.11): waits could not time out"));
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|source| refused("io_uring opcode probe", source))?;
    for (name, code) in [
        ("write", opcode::Write::CODE),
        ("fsync", opcode::Fsync::CODE),
        ("read", opcode::Read::CODE),
    ] {
        let step = format!("io_uring opcode {name}");
        if let Some(source) = refused_by_test(RefuseAt::Opcode) {
            return Err(refused(&step, source));
        }
        if !probe.is_supported(code) {
            return Err(refused(&step, io::ErrorKind::Unsupported.into()));
        }
    }
    let skips_success = ring.params().is_feature_skip_cqe_on_success();
    Ok(SetUpRing { ring, flags, skips_success })
}

/// Tries the sets of flags in order, until the kernel accepts one.
fn set_up_with_fallback(entries: u32) -> io::Result<(IoUring, &'static str)> {
    if let Some(source) = refused_by_test(RefuseAt::Setup) {
        return Err(source);
    }
    let mut answer = None;
    #[cfg(test)]
    let sets = FLAG_SETS.iter().skip(FIRST_FLAG_SET.get());
    #[cfg(not(test))]
    let sets = FLAG_SETS.iter();
    for &(flags, set) in sets {
        let mut builder = IoUring::builder();
        set(&mut builder);
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, flags)),
            Err(source) if source.raw_os_error() == Some(libc::EINVAL) => answer = Some(source),
            Err(source) => return Err(source),
        }
    }
    Err(answer.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

type SetFlags = fn(&mut Builder<squeue::Entry, cqueue::Entry>);

/// From the best to the plainest, each with its name in words.
const FLAG_SETS: &[(&str, SetFlags)] = &[
    ("single issuer, deferred task run, submit all, no SQ array", |builder| {
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_no_sqarray();
    }),
    ("single issuer, deferred task run, submit all", |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    }),
    ("single issuer, cooperative task run, submit all", |builder| {
        builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    }),
    ("cooperative task run, submit all", |builder| {
        builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    }),
    ("submit all", |builder| {
        builder.setup_submit_all();
    }),
    ("none", |_| {}),
];

#[cfg(test)]
pub(super) fn flag_sets() -> usize {
    FLAG_SETS.len()
}

#[cfg(test)]
thread_local! {
    /// The first set that this thread tries.
    pub(super) static FIRST_FLAG_SET: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
