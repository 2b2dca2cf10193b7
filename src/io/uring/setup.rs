//! Sets a ring up with the best flags that the kernel takes, or says why there is none.
//!
//! The ladder goes down by dropping flags when the kernel answers EINVAL, never by its version:
//! distributions backport. Any other answer ends it.

use std::io;

use io_uring::{Builder, IoUring, Probe, cqueue, opcode, squeue};

use crate::io::refuse::{RefuseAt, refused_by_test};

/// A ring that passed, and what it has.
pub(super) struct Rung {
    pub(super) ring: IoUring,
    /// What was asked for, in words.
    pub(super) flags: &'static str,
    /// Whether a linked write can leave its completion out if it succeeds.
    pub(super) skips_success: bool,
}

/// What the kernel refused.
#[derive(Debug)]
pub(crate) struct SetupRefused {
    /// Which step, in words.
    pub(crate) step: String,
    /// Its answer.
    pub(crate) source: io::Error,
}

fn refused(step: &str, source: io::Error) -> SetupRefused {
    SetupRefused { step: step.to_owned(), source }
}

/// A ring of at least `entries` submissions, or what was refused.
pub(super) fn set_up(entries: u32) -> Result<Rung, SetupRefused> {
    let (ring, flags) = climb_down(entries).map_err(|source| refused("io_uring set-up", source))?;
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
    Ok(Rung { ring, flags, skips_success })
}

fn climb_down(entries: u32) -> io::Result<(IoUring, &'static str)> {
    if let Some(source) = refused_by_test(RefuseAt::Setup) {
        return Err(source);
    }
    let mut answer = None;
    #[cfg(test)]
    let ladder = LADDER.iter().skip(FIRST_RUNG.get());
    #[cfg(not(test))]
    let ladder = LADDER.iter();
    for &(flags, set) in ladder {
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

const LADDER: &[(&str, SetFlags)] = &[
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
pub(super) fn rungs() -> usize {
    LADDER.len()
}

#[cfg(test)]
thread_local! {
    /// Where the ladder begins on this thread.
    pub(super) static FIRST_RUNG: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
