//! One suite for every backend, strategy and depth.

mod case;

use std::time::{Duration, Instant};

use super::*;
use case::{Case, SEGMENT, UNIT, block, for_every_queue, for_every_real_queue, spare};

#[test]
fn a_segment_lives_from_prepare_to_seal() {
    for blocks in [Blocks::Written, Blocks::Reserved] {
        for_every_queue(|case| live_from_prepare_to_seal(case, blocks));
    }
}

fn live_from_prepare_to_seal(mut case: Case, blocks: Blocks) {
    let sync = Some(case.strategy);
    case.prepare(1, blocks);
    assert_eq!(case.read(&spare(1)), vec![0; SEGMENT as usize], "{}", case.name);
    case.run(FileOp::Install { file: 1, from: spare(1), to: "a.seg".into() }).unwrap();
    assert_eq!(case.place.names(), ["a.seg"], "{}", case.name);

    let token = case.write(1, 0, sync);
    let done = case.wait_for(1).remove(0);
    assert_eq!(done.token, token);
    done.result.unwrap();
    assert_eq!(&done.buf.unwrap()[..], &[1; 4096][..], "{}", case.name);
    let plain = case.write(1, 1, None);
    assert_eq!(case.wait_for(1)[0].token, plain);
    case.run(Op::Sync { file: 1 }).unwrap();

    case.run(FileOp::Seal { file: 1, name: "a.seg".into(), bytes: 2 * UNIT - 7 }).unwrap();
    let mut expected = vec![1; 4096];
    expected.extend([2; 4089]);
    assert_eq!(case.read("a.seg"), expected, "{}", case.name);
    assert!(case.run(Op::Sync { file: 1 }).is_err(), "{}: it is closed", case.name);
    assert_eq!(case.queue.in_flight(), 0);
}

#[test]
fn a_retired_file_keeps_its_content_and_gets_the_missing_blocks() {
    for_every_queue(|mut case| {
        for blocks in [Blocks::Written, Blocks::Reserved] {
            case.place.put("old.seg", &[9; 5000]);
            let reuse = Some("old.seg".into());
            case.run(FileOp::Prepare {
                file: 7,
                name: spare(7),
                reuse,
                bytes: SEGMENT,
                blocks,
                pace: Arc::default(),
            })
            .unwrap();
            let bytes = case.read(&spare(7));
            assert_eq!(bytes.len() as u64, SEGMENT);
            assert!(bytes[..5000].iter().all(|&byte| byte == 9), "{}", case.name);
            assert!(bytes[5000..].iter().all(|&byte| byte == 0), "{}", case.name);
            case.run(FileOp::Discard { file: 7, name: spare(7) }).unwrap();
            assert!(case.place.names().is_empty(), "{}", case.name);
        }
    });
}

#[test]
fn a_spare_that_cannot_be_prepared_leaves_nothing_and_does_not_end_the_queue() {
    for_every_queue(|mut case| {
        let reuse = Some("missing.seg".into());
        let op = FileOp::Prepare {
            file: 1,
            name: spare(1),
            reuse,
            bytes: SEGMENT,
            blocks: Blocks::Written,
            pace: Arc::default(),
        };
        assert!(matches!(case.run(op), Err(Error::Io { op: "rename", .. })), "{}", case.name);
        assert!(case.place.names().is_empty(), "{}", case.name);

        case.place.put(&spare(2), b"taken");
        let op = FileOp::Prepare {
            file: 2,
            name: spare(2),
            reuse: None,
            bytes: SEGMENT,
            blocks: Blocks::Written,
            pace: Arc::default(),
        };
        assert!(matches!(case.run(op), Err(Error::Io { op: "create", .. })), "{}", case.name);
        assert_eq!(case.read(&spare(2)), b"taken", "what was there is not ours to remove");
        case.prepare(3, Blocks::Written);
    });
}

#[test]
fn many_writes_in_flight_all_complete_with_their_own_buffers() {
    for_every_queue(|mut case| {
        case.prepare(1, Blocks::Written);
        case.prepare(2, Blocks::Written);
        let sync = Some(case.strategy);
        let rounds = 3 * case.depth as u64 + 5;
        // Two files, from the last block to the first, with far more writes than fit at once.
        let mut expected = Vec::new();
        for unit in (0..rounds).rev() {
            for file in [1, 2] {
                expected.push((case.write(file, unit, sync), unit));
            }
        }
        assert_eq!(case.queue.in_flight(), expected.len());
        for (done, (token, unit)) in case.wait_for(expected.len()).into_iter().zip(expected) {
            assert_eq!(done.token, token, "{}", case.name);
            done.result.unwrap();
            assert!(done.buf.unwrap().iter().all(|&byte| byte == unit as u8 + 1));
        }
        assert_eq!(case.queue.in_flight(), 0);
        for file in [1, 2] {
            let bytes = case.read(&spare(file));
            for unit in 0..rounds {
                let at = (unit * UNIT) as usize;
                assert_eq!(bytes[at..at + 4096], block(unit)[..], "{} {unit}", case.name);
            }
        }
    });
}

#[test]
fn mixed_strategies_and_plain_writes_share_a_queue() {
    for_every_queue(|mut case| {
        case.prepare(1, Blocks::AsTheyCome);
        let mut unit = 0;
        for _ in 0..4 {
            for sync in Strategy::ALL.map(Some).into_iter().chain([None]) {
                case.write(1, unit, sync);
                unit += 1;
            }
            case.submit(Op::Sync { file: 1 });
        }
        for done in case.wait_for(20) {
            done.result.unwrap();
        }
        let bytes = case.read(&spare(1));
        for unit in 0..16 {
            let at = unit * 4096;
            assert_eq!(bytes[at..at + 4096], block(unit as u64)[..], "{} {unit}", case.name);
        }
    });
}

/// Runs many small seeded histories of writes and syncs over several files, with wakes in between.
/// Afterwards every file equals a plain array.
#[test]
fn any_mix_of_writes_leaves_what_was_written_last() {
    for_every_queue(|mut case| {
        let mut seed = 0x9e37_79b9_7f4a_7c15 ^ case.depth as u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut model = vec![vec![0; SEGMENT as usize]; 3];
        for file in 0..3 {
            case.prepare(file, Blocks::Written);
        }
        let waker = case.queue.waker();
        for _ in 0..20 {
            // The blocks of one round are distinct, because their order is not defined.
            let (mut next, mut submitted) = (random(8), 0);
            while next < SEGMENT / UNIT {
                let (file, units) = (random(3), 1 + random(3).min(SEGMENT / UNIT - next - 1));
                let (from, len) = ((next * UNIT) as usize, (units * UNIT) as usize);
                let mut buf = AlignedBuf::zeroed(len);
                buf.fill(random(255) as u8);
                model[file as usize][from..from + len].copy_from_slice(&buf);
                let sync = [None, Some(case.strategy)][random(2) as usize];
                case.submit(Op::Write { file, offset: next * UNIT, buf, len, sync });
                submitted += 1;
                next += units + random(6);
                if random(4) == 0 {
                    case.submit(Op::Sync { file });
                    submitted += 1;
                }
                if random(4) == 0 {
                    waker.wake();
                }
            }
            for done in case.wait_for(submitted) {
                done.result.unwrap();
            }
        }
        for file in 0..3 {
            assert!(case.read(&spare(file)) == model[file as usize], "{} {file}", case.name);
        }
    });
}

#[test]
fn a_long_write_of_many_units_is_one_operation() {
    for_every_queue(|mut case| {
        case.prepare(1, Blocks::Written);
        let mut buf = AlignedBuf::zeroed(SEGMENT as usize);
        for (index, byte) in buf.iter_mut().enumerate() {
            *byte = (index / 512) as u8;
        }
        let expected = buf.to_vec();
        let len = buf.len();
        case.run(Op::Write { file: 1, offset: 0, buf, len, sync: Some(case.strategy) }).unwrap();
        assert_eq!(case.read(&spare(1)), expected, "{}", case.name);
    });
}

#[test]
fn a_write_to_a_number_that_is_not_open_gives_the_buffer_back() {
    for_every_queue(|mut case| {
        case.write(99, 3, Some(case.strategy));
        let done = case.wait_for(1).remove(0);
        assert!(done.result.unwrap_err().to_string().contains("99"), "{}", case.name);
        assert_eq!(&done.buf.unwrap()[..], &block(3)[..]);
        assert_eq!(case.queue.in_flight(), 0);
    });
}

/// The write lies past the largest offset that a file can have.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_reports_its_own_error_and_the_name_the_file_has_now() {
    for_every_real_queue(|mut case| {
        let case::TestPlace::Dir(dir) = &case.place else { return };
        let dir = dir.path().to_path_buf();
        case.prepare(1, Blocks::Written);
        case.run(FileOp::Install { file: 1, from: spare(1), to: "a.seg".into() }).unwrap();
        case.prepare(2, Blocks::Written);
        let sync = Some(case.strategy);
        let offset = i64::MAX as u64 / UNIT * UNIT;
        let failing = case.submit(Op::Write { file: 1, offset, buf: block(0), len: 4096, sync });
        case.write(2, 0, sync);
        for done in case.wait_for(2) {
            match done.result {
                Err(Error::Io { op, path, source }) if done.token == failing => {
                    let errno = source.raw_os_error().unwrap();
                    let too_far = [libc::EFBIG, libc::EINVAL, libc::EOVERFLOW];
                    assert!(too_far.contains(&errno), "{}: {source}", case.name);
                    assert_eq!(op, "write");
                    assert_eq!(path, dir.join("a.seg"), "{}", case.name);
                }
                Ok(()) if done.token != failing => {}
                other => panic!("{}: {other:?}", case.name),
            }
            assert!(done.buf.is_some());
        }
    });
}

#[test]
fn a_wake_before_the_wait_is_not_lost_and_wakes_are_merged() {
    for_every_queue(|mut case| {
        let waker = case.queue.waker();
        let mut done = Vec::new();
        for _ in 0..3 {
            waker.wake();
            waker.wake();
            // Waits for ever unless it is woken.
            case.queue.wait(None, &mut done).unwrap();
        }
        assert!(done.is_empty());
    });
}

#[test]
fn a_wake_from_another_thread_ends_a_wait() {
    for_every_real_queue(|mut case| {
        let waker = case.queue.waker();
        let (send, receive) = crossbeam_channel::bounded(0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for item in 0..200 {
                    // The message says that the thread is about to wait.
                    send.send(item).unwrap();
                    waker.wake();
                }
            });
            let mut done = Vec::new();
            for item in 0..200 {
                assert_eq!(receive.recv(), Ok(item));
                case.queue.wait(None, &mut done).unwrap();
            }
        });
    });
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    for_every_real_queue(|mut case| {
        let mut done = Vec::new();
        let started = Instant::now();
        case.queue.wait(Some(Duration::from_millis(5)), &mut done).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(5), "{}", case.name);
        case.queue.wait(Some(Duration::ZERO), &mut done).unwrap();
        assert!(done.is_empty());
    });
}

#[test]
fn dropping_a_queue_waits_for_what_it_started() {
    for_every_queue(|mut case| {
        case.prepare(1, Blocks::Written);
        let count = case.depth as u64;
        for unit in 0..count {
            case.write(1, unit, Some(case.strategy));
        }
        let mut done = Vec::new();
        case.queue.wait(Some(Duration::ZERO), &mut done).unwrap();
        case.submit(FileOp::Install { file: 1, from: spare(1), to: "a.seg".into() });
        let Case { queue, place, name, .. } = case;
        drop(queue);
        drop(done);
        let bytes = place.read("a.seg");
        for unit in 0..count {
            let at = (unit * UNIT) as usize;
            assert_eq!(bytes[at..at + 4096], block(unit)[..], "{name} {unit}");
        }
    });
}

#[test]
fn dropping_a_queue_with_work_that_no_wait_started_does_not_hang() {
    for_every_real_queue(|mut case| {
        case.prepare(1, Blocks::Written);
        case.write(1, 0, Some(case.strategy));
        let op = FileOp::Prepare {
            file: 2,
            name: spare(2),
            reuse: None,
            bytes: 1 << 40,
            blocks: Blocks::Written,
            pace: Arc::default(),
        };
        case.submit(op);
    });
}

#[test]
fn an_install_does_not_wait_for_a_spare_that_is_being_filled() {
    for_every_real_queue(|mut case| {
        case.prepare(1, Blocks::AsTheyCome);
        let bytes = 1 << 40;
        case.submit(FileOp::Prepare {
            file: 2,
            name: spare(2),
            reuse: None,
            bytes,
            blocks: Blocks::Written,
            pace: Arc::default(),
        });
        // Only the install can complete: the other operation takes for ever.
        case.run(FileOp::Install { file: 1, from: spare(1), to: "a.seg".into() }).unwrap();
        assert_eq!(case.queue.in_flight(), 1);
        let Case { queue, place, name, .. } = case;
        drop(queue);
        assert_eq!(place.names(), ["a.seg"], "{name}: the half-made spare is gone");
    });
}
