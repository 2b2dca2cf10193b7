//! The results of aged logs, as tables and as JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::bench::aged::protocol::{Appended, Opened};
use crate::bench::aged::results::{
    AGED_FIGURES, AGED_RATIOS, Aged, AgedResult, AgedRound, AgedRow, OPEN_FIGURES, OPEN_RATIOS,
    OpenFigure, OpenRatio, Part, open_time,
};
use crate::bench::report::rows::{number, range, write_rows};

/// Writes the tables: the cost and resources of appending, and the time to open the logs.
pub(crate) fn write_ages(f: &mut fmt::Formatter<'_>, results: &[AgedResult]) -> fmt::Result {
    let rows = || results.iter().flat_map(|it| it.rows.iter().map(move |row| (it, row)));
    let of_ratio = |name: &str| [format!("x-{name}"), format!("{name}-range")];
    let mut heading: Vec<String> =
        ["age", "size", "live", "segment", "acked/s", "cpu-us"].map(str::to_owned).into();
    heading.extend(AGED_RATIOS.iter().flat_map(|&(.., name)| of_ratio(name)));
    let more = ["memory-MiB", "descriptors", "young-descriptors", "files", "young-files"];
    let more = more.into_iter().chain(["strategy", "compared", "rounds"]);
    heading.extend(more.map(str::to_owned));
    write_rows(f, &heading, rows().map(|(result, row)| age_row(result, row)).collect())?;
    writeln!(
        f,
        "age: total bytes appended, as a multiple of the live bytes; x: relative to a young log"
    )?;
    writeln!(f)?;
    let mut heading: Vec<String> =
        ["live", "age", "size", "records", "bytes", "segments"].map(str::to_owned).into();
    heading.extend(OPEN_FIGURES.iter().map(|&(.., name)| name.to_owned()));
    for of_part in ["", "-part"] {
        let names = OPEN_RATIOS.iter().map(|(_, name)| format!("{name}{of_part}"));
        heading.extend(names.flat_map(|name| of_ratio(&name)));
    }
    let openings = |(result, row): (&AgedResult, &AgedRow)| {
        let shares = row.shares().into_iter();
        shares.map(|share| open_row(result, row, share)).collect::<Vec<_>>()
    };
    write_rows(f, &heading, rows().flat_map(openings).collect())?;
    writeln!(
        f,
        "x: time per live record, relative to a young log; x-part: relative to the smallest part"
    )?;
    writeln!(f)
}

fn age_row(result: &AgedResult, row: &AgedRow) -> Vec<String> {
    let plan = &result.plan;
    let of_old = |at: usize| row.median(|round| AGED_FIGURES[at].0(&round.old));
    let of_young = |at: usize| row.median(|round| AGED_FIGURES[at].0(&round.young));
    let [rate, cpu, resident, descriptors, files] = [0, 1, 2, 3, 4];
    let mut cells = vec![
        row.age.to_string(),
        plan.size.to_string(),
        plan.live_bytes.to_string(),
        plan.segment_bytes.to_string(),
        number(of_old(rate), 0),
        number(of_old(cpu), 3),
    ];
    for (ratio, ..) in AGED_RATIOS {
        cells.push(number(row.median(ratio), 3));
        cells.push(range(row.rounds.iter().map(ratio)));
    }
    cells.push(number(of_old(resident).map(|kib| kib / 1024.0), 1));
    for figure in [descriptors, files] {
        cells.extend([number(of_old(figure), 0), number(of_young(figure), 0)]);
    }
    cells.extend([row.strategies(), row.compared().to_string(), row.rounds.len().to_string()]);
    cells
}

fn open_row(result: &AgedResult, row: &AgedRow, share: u64) -> Vec<String> {
    let median_of =
        |figure: OpenFigure| row.median(|round| open_time(round.openings(share), figure));
    let mut cells = vec![
        if share == 1 { "1".to_owned() } else { format!("1/{share}") },
        row.age.to_string(),
        result.plan.size.to_string(),
        number(median_of(|it| it.records as f64), 0),
        number(median_of(|it| it.file_bytes as f64), 0),
        number(median_of(|it| it.segments as f64), 0),
    ];
    cells.extend(OPEN_FIGURES.map(|(figure, ..)| number(median_of(figure), 4)));
    let ratios: [OpenRatio; 2] = [AgedRound::open_ratio, AgedRound::part_ratio];
    for ratio in ratios {
        for (figure, _) in OPEN_RATIOS {
            let of_round = |round: &AgedRound| ratio(round, share, figure);
            cells.push(number(row.median(of_round), 3));
            cells.push(range(row.rounds.iter().map(of_round)));
        }
    }
    cells
}

/// The whole result, round by round.
pub(crate) fn to_json(result: &AgedResult) -> Value {
    let plan = &result.plan;
    json!({
        "size": plan.size,
        "live_bytes": plan.live_bytes,
        "segment_bytes": plan.segment_bytes,
        "window": plan.window,
        "ages": result.rows.iter().map(age).collect::<Vec<_>>(),
    })
}

fn age(row: &AgedRow) -> Value {
    json!({
        "age": row.age,
        "records_compared": row.compared(),
        "medians": ratios(|ratio| row.median(ratio)),
        "rounds": row.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

fn round(round: &AgedRound) -> Value {
    let part = |part: &Part| json!({ "share": part.share, "openings": openings(&part.openings) });
    let mut object = ratios(|ratio| ratio(round));
    object.insert("old".to_owned(), aged(&round.old));
    object.insert("young".to_owned(), aged(&round.young));
    object.insert("parts".to_owned(), round.parts.iter().map(part).collect());
    Value::Object(object)
}

type Ratio<'a> = &'a dyn Fn(&AgedRound) -> Option<f64>;

fn ratios(of: impl Fn(Ratio<'_>) -> Option<f64>) -> Map<String, Value> {
    let mut object = Map::new();
    for (ratio, name, _) in AGED_RATIOS {
        object.insert(name.to_owned(), json!(of(&ratio)));
    }
    for (figure, name) in OPEN_RATIOS {
        let to_young = of(&|round: &AgedRound| round.open_ratio(1, figure));
        let to_part = of(&|round: &AgedRound| round.part_ratio(1, figure));
        object.insert(format!("ratio_of_{name}_per_record"), json!(to_young));
        object.insert(format!("ratio_of_{name}_per_record_to_smallest_part"), json!(to_part));
    }
    object
}

fn aged(aged: &Aged) -> Value {
    let figures = AGED_FIGURES.iter();
    let mut object: Map<String, Value> =
        figures.map(|(figure, name)| ((*name).to_owned(), json!(figure(aged)))).collect();
    object.insert("strategy".to_owned(), json!(aged.usage.strategy));
    object.insert("turns".to_owned(), aged.appends.iter().map(turn).collect());
    object.insert("openings".to_owned(), openings(&aged.openings));
    Value::Object(object)
}

fn turn(turn: &Appended) -> Value {
    let Appended { records, seconds, cpu_seconds } = turn;
    json!({ "records": records, "seconds": seconds, "cpu_seconds": cpu_seconds })
}

fn openings(openings: &[Opened]) -> Value {
    let one = |opened: &Opened| {
        let figures = OPEN_FIGURES.iter();
        let mut object: Map<String, Value> =
            figures.map(|(figure, name, _)| ((*name).to_owned(), json!(figure(opened)))).collect();
        object.insert("records".to_owned(), json!(opened.records));
        object.insert("file_bytes".to_owned(), json!(opened.file_bytes));
        object.insert("segments".to_owned(), json!(opened.segments));
        Value::Object(object)
    };
    openings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::aged::plan::Plan;
    use crate::bench::aged::results::tests::row;

    struct Shown<'a>(&'a [AgedResult]);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_ages(f, self.0)
        }
    }

    /// The cells below `name` in the table whose heading begins with `first`.
    fn column(table: &str, first: &str, name: &str) -> Vec<String> {
        let mut lines = table.lines().skip_while(|line| !line.starts_with(first));
        let heading: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        let at = heading.iter().position(|word| *word == name).unwrap();
        let rows = lines.take_while(|line| !line.contains(": "));
        let rows = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.inspect(|row| assert_eq!(row.len(), heading.len())).map(|row| row[at].into()).collect()
    }

    #[test]
    fn every_cell_has_its_heading_and_what_is_not_known_is_a_dash() {
        let args = crate::bench::args::tests::parse(&["--mode", "age"]);
        let plan = Plan::new(&args, 1024).unwrap();
        let (mut unknown, known) = (row(), row());
        unknown.rounds[0].old.appends[0].cpu_seconds = None;
        unknown.rounds[0].parts.clear();
        let table = Shown(&[AgedResult { plan, rows: vec![unknown, known] }]).to_string();
        assert_eq!(column(&table, "age ", "x-cpu"), ["-", "2.000"], "{table}");
        assert_eq!(column(&table, "age ", "cpu-range"), ["-", "2.00..2.00"], "{table}");
        assert_eq!(column(&table, "age ", "young-files"), ["12", "12"], "{table}");
        assert_eq!(column(&table, "live ", "live"), ["1", "1", "1/2", "1/4"], "{table}");
        let to_part = column(&table, "live ", "x-open-part");
        assert_eq!(to_part, ["-", "2.000", "1.500", "-"], "{table}");
    }
}
