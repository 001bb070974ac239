//! Charts of a report as SVG, each drawn for a column of 420 pixels, so that text stays legible on a phone.
//!
//! Text and lines are black on a transparent background; the page's style sheet replaces black with the text colour of
//! the light or dark page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::data::{CalibrationBin, CurvePoint};
use crate::head::Curve;
use crate::picture::class_color;
use crate::{Error, Result};

/// Width of a chart in its own units.
const WIDTH: u32 = 420;
/// Height of charts that do not grow with what they list.
const HEIGHT: u32 = 300;
/// Height of a bar, including the space around it.
const BAR: u32 = 15;

/// Font of text; plotters writes 1 / 1.24 of this size into the SVG.
const TEXT: (&str, u32) = ("sans-serif", 16);
const BLUE_INK: RGBColor = RGBColor(58, 123, 213);
const ORANGE_INK: RGBColor = RGBColor(230, 126, 34);
/// Colour of the first of two metrics, in CSS notation.
pub(super) const FIRST_INK: &str = "#3A7BD5";
/// Colour of the second metric.
pub(super) const SECOND_INK: &str = "#E67E22";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line of the training chart: its colour, and its value in each epoch.
type Line = (RGBColor, fn(&Curve) -> Option<f64>);

/// A class and two of its metrics in [0, 1], where they are defined.
pub(super) struct ClassBars {
    pub class: String,
    pub metrics: [Option<f64>; 2],
}

fn colored(index: usize) -> RGBColor {
    let [red, green, blue] = class_color(index).0;
    RGBColor(red, green, blue)
}

fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<(), String>) -> Result<String> {
    sized(WIDTH, height, draw)
}

fn sized(
    width: u32,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> Result<String> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        draw(&area).and_then(|()| area.present().map_err(|err| err.to_string()))
    };
    match drawn {
        Ok(()) => Ok(svg),
        Err(reason) => Err(Error::EncodeImage { reason }),
    }
}

/// Horizontal bars: IoU and AP50 of each class, with the classes from top to bottom.
pub(super) fn class_bars(classes: &[ClassBars]) -> Result<String> {
    let rows = classes.len().max(1) as u32;
    let names: Vec<String> = classes.iter().map(|it| shortened(&it.class, 18)).collect();
    svg(rows * BAR * 5 / 2 + 40, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(20)
            .x_label_area_size(24)
            .y_label_area_size(label_room(&names))
            .build_cartesian_2d(0.0..1.0, 0.0..f64::from(rows))
            .map_err(|err| err.to_string())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .max_light_lines(1)
            .x_labels(6)
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|_| String::new())
            .label_style(TEXT)
            .draw()
            .map_err(|err| err.to_string())?;
        // Rows are counted from below, and the first class is on top.
        let below = |at: usize| f64::from(rows) - 1.0 - at as f64;
        for (at, class) in classes.iter().enumerate() {
            // The first metric is above, the second below.
            for (figure, ink, from) in [
                (class.metrics[0], BLUE_INK, 0.5),
                (class.metrics[1], ORANGE_INK, 0.12),
            ] {
                let Some(value) = figure else { continue };
                let (bottom, top) = (below(at) + from, below(at) + from + 0.38);
                let bar = Rectangle::new([(0.0, bottom), (value, top)], ink.filled());
                chart.draw_series([bar]).map_err(|err| err.to_string())?;
            }
        }
        for (at, name) in names.iter().enumerate() {
            left_label(area, chart.backend_coord(&(0.0, below(at) + 0.5)), name)?;
        }
        Ok(())
    })
}

/// Approximate width of the widest label.
fn label_room(names: &[String]) -> u32 {
    let longest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(4);
    (longest as u32 * 8 + 14).clamp(50, 160)
}

/// Draws a label to the left of a place on the vertical axis, because plotters has no axis of names that takes any
/// number of them.
fn left_label(area: &Area<'_>, (x, y): (i32, i32), name: &str) -> Result<(), String> {
    let style = TEXT
        .into_font()
        .color(&BLACK)
        .pos(Pos::new(HPos::Right, VPos::Center));
    let label = Text::new(name.to_owned(), (x - 8, y), style);
    area.draw(&label).map_err(|err| err.to_string())
}

/// Precision against recall, with one line per class in the class's colour.
pub(super) fn precision_recall(points: &[CurvePoint], classes: &[String]) -> Result<String> {
    svg(HEIGHT, |area| {
        let mut chart = unit_chart(area, "recall", "precision")?;
        for (index, class) in classes.iter().enumerate() {
            let line: Vec<(f64, f64)> = points
                .iter()
                .filter(|it| it.class == *class)
                .map(|it| (it.recall, it.precision))
                .collect();
            let Some((_, first)) = line.first() else {
                continue;
            };
            let line = std::iter::once((0.0, *first)).chain(line.iter().copied());
            let series = LineSeries::new(line, colored(index).stroke_width(2));
            chart.draw_series(series).map_err(|err| err.to_string())?;
        }
        Ok(())
    })
}

/// For the detections in each tenth of the scores, the fraction that is right; on the diagonal, a score equals that
/// fraction.
pub(super) fn calibration(bins: &[CalibrationBin]) -> Result<String> {
    svg(HEIGHT, |area| {
        let mut chart = unit_chart(area, "score", "share that is right")?;
        let bars = bins.iter().map(|bin| {
            let left = bin.bin as f64 / 10.0;
            Rectangle::new(
                [(left + 0.005, 0.0), (left + 0.095, bin.correct)],
                BLUE_INK.filled(),
            )
        });
        chart.draw_series(bars).map_err(|err| err.to_string())?;
        let diagonal = LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.6));
        chart.draw_series(diagonal).map_err(|err| err.to_string())?;
        let counts = bins.iter().map(|bin| {
            let at = (bin.mean_score, (bin.correct + 0.06).min(0.97));
            let centered = Pos::new(HPos::Center, VPos::Center);
            Text::new(
                bin.detections.to_string(),
                at,
                TEXT.into_font().color(&BLACK).pos(centered),
            )
        });
        chart.draw_series(counts).map_err(|err| err.to_string())?;
        Ok(())
    })
}

/// Where the pixels of each class went: rows are annotated classes, columns are predicted ones, and each row adds up to
/// 100 %.
///
/// `cells` are (row, column, fraction of the row in [0, 1]).
pub(super) fn confusion(names: &[String], cells: &[(usize, usize, f64)]) -> Result<String> {
    const CELL: u32 = 46;
    let names: Vec<String> = names.iter().map(|name| shortened(name, 18)).collect();
    let (room, count) = (label_room(&names), names.len().max(1));
    let width = room + CELL * count as u32 + 20;
    sized(width, 30 * count as u32 + room + 16, |area| {
        let side = 0.0..count as f64;
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(room)
            .y_label_area_size(room)
            .build_cartesian_2d(side.clone(), side)
            .map_err(|err| err.to_string())?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_label_formatter(&|_| String::new())
            .y_label_formatter(&|_| String::new())
            .draw()
            .map_err(|err| err.to_string())?;
        let below = |row: usize| (count - 1).saturating_sub(row) as f64;
        let centered = TEXT
            .into_font()
            .color(&BLACK)
            .pos(Pos::new(HPos::Center, VPos::Center));
        for (row, column, share) in cells.iter().filter(|it| it.0 < count && it.1 < count) {
            let (left, bottom) = (*column as f64, below(*row));
            let ink = if row == column { BLUE_INK } else { ORANGE_INK };
            let corners = [(left, bottom), (left + 1.0, bottom + 1.0)];
            let square = Rectangle::new(corners, ink.mix(share.sqrt()).filled());
            chart.draw_series([square]).map_err(|err| err.to_string())?;
            if *share >= 0.005 {
                let middle = (left + 0.5, bottom + 0.5);
                let number = Text::new(format!("{:.0}", share * 100.0), middle, centered.clone());
                chart.draw_series([number]).map_err(|err| err.to_string())?;
            }
        }
        let upright = TEXT
            .into_font()
            .transform(FontTransform::Rotate270)
            .color(&BLACK);
        let upright = upright.pos(Pos::new(HPos::Right, VPos::Center));
        for (at, name) in names.iter().enumerate() {
            left_label(area, chart.backend_coord(&(0.0, below(at) + 0.5)), name)?;
            let (x, y) = chart.backend_coord(&(at as f64 + 0.5, 0.0));
            let label = Text::new(name.clone(), (x, y + 8), upright.clone());
            area.draw(&label).map_err(|err| err.to_string())?;
        }
        Ok(())
    })
}

/// Loss by epoch, teacher, student and refined head after each other: training loss, and validation loss where there is any.
pub(super) fn losses(curves: &[Curve]) -> Result<String> {
    svg(HEIGHT, |area| {
        let kinds: [Line; 2] = [
            (BLUE_INK, |curve| Some(curve.mil)),
            (ORANGE_INK, |curve| curve.validation_loss),
        ];
        let values = kinds
            .iter()
            .flat_map(|(_, value)| curves.iter().filter_map(value));
        let highest = values.fold(0.0, f64::max).max(1e-6) * 1.05;
        let last = curves.len() as f64 + 0.5;
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.5..last, 0.0..highest)
            .map_err(|err| err.to_string())?;
        chart
            .configure_mesh()
            .x_desc("epoch (teacher, student, refined)")
            .y_desc("loss")
            .max_light_lines(1)
            .x_labels(curves.len().clamp(2, 8))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style(TEXT)
            .draw()
            .map_err(|err| err.to_string())?;
        let heads = Curve::stretches(curves);
        for head in heads.iter().skip(1) {
            let border = head.start as f64 + 0.5;
            let line = LineSeries::new([(border, 0.0), (border, highest)], BLACK.mix(0.3));
            chart.draw_series(line).map_err(|err| err.to_string())?;
        }
        for (ink, value) in kinds {
            for head in &heads {
                let numbered = curves.iter().enumerate();
                let numbered = numbered.filter(|(at, _)| head.contains(at));
                let points =
                    numbered.filter_map(|(at, curve)| Some((at as f64 + 1.0, value(curve)?)));
                let series = LineSeries::new(points, ink.stroke_width(2));
                chart.draw_series(series).map_err(|err| err.to_string())?;
            }
        }
        Ok(())
    })
}

type UnitChart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// A chart whose axes both go from 0 to 1.
fn unit_chart<'a, 'b>(area: &'a Area<'b>, x: &str, y: &str) -> Result<UnitChart<'a, 'b>, String> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(14)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)
        .map_err(|err| err.to_string())?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .max_light_lines(1)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.1}"))
        .y_label_formatter(&|y| format!("{y:.1}"))
        .label_style(TEXT)
        .draw()
        .map_err(|err| err.to_string())?;
    Ok(chart)
}

pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_what_they_are_given() {
        let bars = |class: &str, iou, ap| ClassBars {
            class: class.to_owned(),
            metrics: [iou, ap],
        };
        let drawn = class_bars(&[
            bars("cat", Some(0.5), Some(0.25)),
            bars("dog", Some(0.75), None),
        ])
        .unwrap();
        assert!(drawn.contains("cat") && drawn.contains("dog"));
        assert_eq!(
            drawn.matches(FIRST_INK).count() + drawn.matches(SECOND_INK).count(),
            3
        );
        let point = |class: &str, recall, precision| CurvePoint {
            class: class.to_owned(),
            precision,
            recall,
        };
        let points = [
            point("cat", 0.5, 1.0),
            point("cat", 0.7, 0.8),
            point("dog", 0.1, 0.1),
        ];
        let names = ["cat".to_owned(), "dog".to_owned(), "owl".to_owned()];
        let drawn = precision_recall(&points, &names).unwrap();
        assert!(drawn.contains("recall") && drawn.contains("#E6194B") && drawn.contains("#3CB44B"));
        assert!(
            !drawn.contains("#FFE119"),
            "a class without detections has no line"
        );
        let bin = CalibrationBin {
            bin: 7,
            detections: 42,
            mean_score: 0.75,
            correct: 0.5,
        };
        assert!(calibration(&[bin]).unwrap().contains("42"));
        assert!(calibration(&[]).unwrap().starts_with("<svg"));
        assert!(
            class_bars(&[bars("only", Some(1.0), Some(1.0))])
                .unwrap()
                .contains("only")
        );
        assert!(
            confusion(&names[..1], &[(0, 0, 1.0)])
                .unwrap()
                .contains("100")
        );
        let drawn = confusion(&names, &[(0, 0, 0.75), (0, 2, 0.25), (1, 1, 1.0)]).unwrap();
        assert!(drawn.contains("75") && drawn.contains("25") && drawn.contains("owl"));
        assert_eq!(shortened("traffic light", 7), "traffic…");
    }
}
