//! The results as one JSON object, round by round, for programs. An unavailable figure is `null`.

use ringwal::{Histogram, Metrics};
use serde_json::{Map, Value, json};

use crate::bench::args::{BenchArgs, Mode};
use crate::bench::machine::Device;
use crate::bench::machine::cache_drop::CacheDrop;
use crate::bench::recovery::{RECOVERY_FIGURES, Recovered};
use crate::bench::report::aged;
use crate::bench::report::results::{
    BaselineResult, CaseResult, CaseRound, HandRound, RATIOS, RecoveryResult, Results, by_hand_way,
};
use crate::bench::sample::{Figure, Sample};

/// The context of a run, reported beside the results.
pub(crate) struct Context<'a> {
    pub(crate) args: &'a BenchArgs,
    pub(crate) device: &'a Device,
    pub(crate) filesystem: &'a str,
    pub(crate) not_direct: Option<&'a str>,
    pub(crate) cache_drop: CacheDrop,
}

/// The whole report.
pub(crate) fn to_json(context: &Context<'_>, results: &Results) -> Value {
    let Context { args, device, .. } = context;
    let left_out = results.left_out.iter();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "command": std::env::args().collect::<Vec<_>>(),
        "seconds": args.secs.as_secs_f64(),
        "rounds": args.rounds,
        "hogs": args.background,
        "with_floors": args.baselines,
        "with_by_hand": args.by_hand,
        "synced": args.engine.is_synced(),
        "processors": std::thread::available_parallelism().ok().map(usize::from),
        "filesystem": context.filesystem,
        "device": {
            "name": device.name.as_ref().ok(),
            "unknown_because": device.name.as_ref().err(),
            "write_cache": device.write_cache,
            "counts_every_flush": device.counts_every_flush(),
        },
        "cold_by": context.cache_drop.name(),
        "direct_io_of_floors": context.not_direct.is_none(),
        "cases": results.cases.iter().map(case).collect::<Vec<_>>(),
        "recoveries": results.recoveries.iter().map(recovery).collect::<Vec<_>>(),
        "ages": results.ages.iter().map(aged::to_json).collect::<Vec<_>>(),
        "floors": results.baselines.iter().map(baseline).collect::<Vec<_>>(),
        "left_out": left_out
            .map(|(name, reason)| json!({ "floor": name, "reason": reason }))
            .collect::<Vec<_>>(),
    })
}

fn case(result: &CaseResult) -> Value {
    let case = &result.case;
    let mut medians = figures(|figure| result.median(figure));
    for (ratio, name) in RATIOS {
        medians.insert(name.to_owned(), json!(result.ratio(ratio)));
    }
    json!({
        "mode": case.mode.to_string(),
        "threads": case.threads,
        "size": case.size,
        "window": case.window,
        "think_micros": case.think.as_micros() as u64,
        "burst": case.burst,
        "outstanding": case.outstanding(),
        "workers": (case.mode == Mode::Tasks).then_some(case.workers),
        "segments": case.segments(),
        "by_hand_way": by_hand_way(case.mode),
        "records_compared": result.compared(),
        "unexplained": result.is_unexplained(),
        "medians": medians,
        "by_hand_medians": figures(|figure| result.hand_median(figure)),
        "rounds": result.rounds.iter().map(case_round).collect::<Vec<_>>(),
    })
}

fn case_round(round: &CaseRound) -> Value {
    let mut object = sample(&round.sample);
    object.insert("backend".to_owned(), json!(round.backend.kind.to_string()));
    object.insert("strategy".to_owned(), json!(round.backend.strategy.name()));
    object.insert("backend_report".to_owned(), json!(round.backend.to_string()));
    object.insert("engine_since_open".to_owned(), engine(&round.metrics));
    object.insert("records_compared".to_owned(), json!(round.compared));
    for (ratio, name) in RATIOS {
        object.insert(name.to_owned(), json!(ratio(round)));
    }
    object.insert("unexplained".to_owned(), json!(round.unexplained));
    object.insert("by_hand".to_owned(), json!(round.by_hand.as_ref().map(hand_round)));
    object.insert("on_std".to_owned(), json!(round.on_std.as_ref().map(sample)));
    Value::Object(object)
}

fn hand_round(round: &HandRound) -> Map<String, Value> {
    let mut object = sample(&round.sample);
    object.insert("records_compared".to_owned(), json!(round.compared));
    object.insert("unexplained".to_owned(), json!(round.unexplained));
    object
}

fn engine(metrics: &Metrics) -> Value {
    let micros = |histogram: &Histogram| {
        json!({
            "mean": histogram.mean(),
            "p50_at_most": histogram.quantile(0.5),
            "p99_at_most": histogram.quantile(0.99),
            "max": histogram.max(),
        })
    };
    json!({
        "records": metrics.records,
        "batches": metrics.batches,
        "synced_batches": metrics.synced_batches,
        "inline_batches": metrics.inline_batches,
        "strategy": metrics.strategy.map(ringwal::Strategy::name),
        "separate_syncs": metrics.separate_syncs,
        "rotations": metrics.rotations,
        "spares_prepared": metrics.spares_prepared,
        "spares_reserved": metrics.spares_reserved,
        "spares_refused": metrics.spares_refused,
        "queue_micros": micros(&metrics.queue_micros),
        "commit_micros": micros(&metrics.commit_micros),
        "wake_micros": micros(&metrics.wake_micros),
    })
}

fn recovery(result: &RecoveryResult) -> Value {
    let round = |round: &Recovered| {
        let figures = RECOVERY_FIGURES.iter();
        let mut object: Map<String, Value> =
            figures.map(|(figure, name, _)| ((*name).to_owned(), json!(figure(round)))).collect();
        object.insert("records".to_owned(), json!(round.records));
        object.insert("bytes".to_owned(), json!(round.bytes));
        object.insert("raw_read_not_direct_because".to_owned(), json!(round.not_direct));
        Value::Object(object)
    };
    let figures = RECOVERY_FIGURES.iter();
    let medians: Map<String, Value> =
        figures.map(|&(figure, name, _)| (name.to_owned(), json!(result.median(figure)))).collect();
    json!({
        "size": result.size,
        "medians": medians,
        "rounds": result.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

fn baseline(result: &BaselineResult) -> Value {
    let rounds = result.rounds.iter().map(|(measured, unexplained)| {
        let mut object = sample(measured);
        object.insert("unexplained".to_owned(), json!(unexplained));
        Value::Object(object)
    });
    json!({
        "floor": result.baseline.name(),
        "at_once": result.baseline.outstanding(),
        "size": result.baseline.size(),
        "unexplained": result.is_unexplained(),
        "medians": figures(|figure| result.median(figure)),
        "rounds": rounds.collect::<Vec<_>>(),
    })
}

fn sample(sample: &Sample) -> Map<String, Value> {
    let mut object = figures(|figure| sample.figure(figure));
    object.insert("records".to_owned(), json!(sample.records));
    object.insert("elapsed_seconds".to_owned(), json!(sample.spent.elapsed.as_secs_f64()));
    object.insert("device_flushes".to_owned(), json!(sample.spent.flushes));
    object
}

fn figures(of: impl Fn(Figure) -> Option<f64>) -> Map<String, Value> {
    Figure::ALL.iter().map(|&(figure, name)| (name.to_owned(), json!(of(figure)))).collect()
}
