//! Logs of several shapes.

use crate::making::{Making, event_log};
use crate::model::{BLOCK, Shape, segment_name};

/// All shapes. Two calls with different tags return logs of the same shapes with other records.
pub(crate) fn all(tag: u8) -> Vec<Shape> {
    let plain = |name, segment_bytes| Making::new(name, tag, segment_bytes);
    let mut shapes = Vec::new();

    let mut log = plain("one segment, crashed", 32 * 1024);
    log.appends(5, 40);
    shapes.push(log.finish());

    let mut log = plain("one segment, closed", 32 * 1024);
    log.appends(5, 40);
    log.close();
    shapes.push(log.finish());

    let mut log = plain("tiny segments, crashed", 128);
    log.appends(6, 30);
    shapes.push(log.finish());

    let mut log = plain("tiny segments, closed", 128);
    log.appends(6, 30);
    log.close();
    shapes.push(log.finish());

    let mut log = plain("big batches, crashed", 32 * 1024);
    for lengths in [&[3000, 2000, 700][..], &[40; 60], &[5000], &[9, 8, 7, 4000]] {
        log.append(lengths);
    }
    shapes.push(log.finish());

    let mut log = plain("several segments, crashed", 32 * 1024);
    for _ in 0..3 {
        log.appends(3, 50);
        log.rotate();
    }
    log.appends(3, 50);
    shapes.push(log.finish());

    shapes.push(recycled(tag));
    shapes.extend(truncated(tag));

    let mut log = plain("checkpoint, crashed", 32 * 1024);
    log.appends(2, 60);
    log.checkpoint(1);
    log.appends(2, 60);
    log.checkpoint(4);
    log.appends(2, 60);
    shapes.push(log.finish());

    let mut log = plain("after a torn tail", 32 * 1024);
    log.appends(3, 60);
    log.crash_torn();
    log.open();
    log.appends(3, 60);
    shapes.push(log.finish());

    let mut log = plain("many lives, closed", 32 * 1024);
    for _ in 0..3 {
        log.appends(2, 60);
        log.close();
        log.open();
    }
    log.append(&[30; 3]);
    log.close();
    shapes.push(log.finish());

    shapes.push(event_log(tag));
    shapes
}

/// A last segment in a recycled file, with batches of its earlier use behind its own.
fn recycled(tag: u8) -> Shape {
    let mut log = Making::new("recycled, crashed", tag, 32 * 1024);
    for _ in 0..2 {
        log.appends(5, 50);
        log.rotate();
    }
    log.appends(1, 50);
    log.truncate_before(11);
    // The first of these may have been prepared before there was anything to recycle.
    for _ in 0..2 {
        log.rotate();
        log.appends(2, 50);
    }
    let shape = log.finish();
    let last = &shape.files[&segment_name(14)];
    assert!(last[2 * BLOCK..].starts_with(b"RWAL"), "an earlier life");
    shape
}

fn truncated(tag: u8) -> Vec<Shape> {
    let mut before = Making::new("after truncate_before", tag, 32 * 1024);
    for _ in 0..3 {
        before.appends(3, 50);
        before.rotate();
    }
    before.truncate_before(7);
    before.appends(3, 50);

    let mut cut = Making::new("after truncate_after", tag, 32 * 1024);
    cut.appends(2, 50);
    cut.append(&[50; 4]);
    cut.truncate_after(4);

    let mut cut_on = Making::new("cut and continued", tag, 32 * 1024);
    cut_on.appends(2, 50);
    cut_on.append(&[50; 4]);
    cut_on.truncate_after(4);
    cut_on.appends(4, 50);

    let mut cut_twice = Making::new("cut twice, closed", tag, 32 * 1024);
    cut_twice.append(&[50; 4]);
    cut_twice.truncate_after(2);
    cut_twice.append(&[50; 4]);
    cut_twice.truncate_after(5);
    cut_twice.appends(2, 50);
    cut_twice.close();
    [before, cut, cut_on, cut_twice].into_iter().map(Making::finish).collect()
}
