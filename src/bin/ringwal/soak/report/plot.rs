//! Plots a time series as one SVG, with a small chart per column.

use std::path::Path;

use plotters::prelude::*;

use crate::soak::report::time_series::{COLUMNS, Row};

const COLUMNS_OF_CHARTS: usize = 2;
const CHART_PIXELS: (u32, u32) = (640, 180);
/// More points than this are indistinguishable in a chart of this width.
const POINTS_MAX: usize = 2000;

/// Plots the rows into a file.
pub(crate) fn draw(path: &Path, rows: &[Row]) -> Result<(), Box<dyn std::error::Error>> {
    let charts = COLUMNS.len() - 1;
    let lines = charts.div_ceil(COLUMNS_OF_CHARTS);
    let size = (CHART_PIXELS.0 * COLUMNS_OF_CHARTS as u32, CHART_PIXELS.1 * lines as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, column) in root.split_evenly((lines, COLUMNS_OF_CHARTS)).iter().zip(1..) {
        if column < COLUMNS.len() {
            draw_chart(area, COLUMNS[column], &points(rows, column))?;
        }
    }
    root.present()?;
    Ok(())
}

/// The points of a column: elapsed seconds and the value.
fn points(rows: &[Row], column: usize) -> Vec<(f64, f64)> {
    let step = rows.len().div_ceil(POINTS_MAX).max(1);
    let values = rows.iter().step_by(step).map(Row::values);
    values.filter_map(|values| Some((values[0]?, values[column]?))).collect()
}

fn draw_chart(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    name: &str,
    points: &[(f64, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(0.0, f64::max);
    // An empty range has no scale.
    let (seconds, value) = (most(|point| point.0).max(1.0), (most(|point| point.1) * 1.1).max(1.0));
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(24)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..seconds, 0.0..value)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::soak::report::time_series::tests::row;

    #[test]
    fn every_column_has_a_chart_also_when_there_is_next_to_nothing_to_draw() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("curves.svg");
        for rows in [vec![], vec![row(0, 0, 0, 0)], (0..5000).map(|at| row(at, at, 1, 0)).collect()]
        {
            draw(&path, &rows).unwrap();
            let svg = std::fs::read_to_string(&path).unwrap();
            for name in &COLUMNS[1..] {
                assert!(svg.contains(name), "{name}");
            }
        }
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.len() < 2_000_000, "{}", svg.len());
    }
}
