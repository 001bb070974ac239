//! A head's training curves as an SVG picture: loss and accuracy by epoch.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::curve::Curve;
use super::unusable::unusable;
use crate::Result;

/// One line of a chart: its name, its colour, and its value in each epoch.
type Line = (&'static str, RGBColor, fn(&Curve) -> Option<f64>);

/// Plots the loss and the validation metrics of a training as an SVG document.
///
/// # Errors
/// [`crate::error::HeadError::Unusable`] if there are no curves, or they cannot be drawn.
pub fn plot_curves(head: &str, curves: &[Curve]) -> Result<String> {
    if curves.is_empty() {
        return Err(unusable(head, "it has no curves"));
    }
    let mut svg = String::new();
    draw(&mut svg, head, curves).map_err(|reason| unusable(head, reason))?;
    Ok(svg)
}

fn draw(svg: &mut String, head: &str, curves: &[Curve]) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, (900, 380)).into_drawing_area();
    area.fill(&WHITE).map_err(|err| err.to_string())?;
    let area = area
        .titled(&format!("head '{head}'"), ("sans-serif", 20))
        .map_err(|err| err.to_string())?;
    let (left, right) = area.split_horizontally(450);
    chart(
        &left,
        "loss",
        curves,
        &[
            ("training", BLUE, |curve| Some(curve.mil)),
            ("validation", RED, |curve| curve.validation_loss),
        ],
    )?;
    chart(
        &right,
        "validation accuracy",
        curves,
        &[("accuracy", RED, |curve| curve.validation_accuracy)],
    )?;
    area.present().map_err(|err| err.to_string())
}

/// Draws the epochs of each head that was trained, one after the other, with grey lines between them.
fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    caption: &str,
    curves: &[Curve],
    lines: &[Line],
) -> Result<(), String> {
    let values = || {
        lines
            .iter()
            .flat_map(|(_, _, value)| curves.iter().filter_map(value))
    };
    let highest = values().fold(0.0, f64::max).max(1e-6) * 1.05;
    let last = curves.len() as f64 + 0.5;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(46)
        .build_cartesian_2d(0.5..last, 0.0..highest)
        .map_err(|err| err.to_string())?;
    chart
        .configure_mesh()
        .x_desc("epoch (teacher, student, refined)")
        .max_light_lines(1)
        .x_labels(curves.len().min(12))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()
        .map_err(|err| err.to_string())?;
    let heads = Curve::stretches(curves);
    for head in heads.iter().skip(1) {
        let border = head.start as f64 + 0.5;
        let line = LineSeries::new([(border, 0.0), (border, highest)], BLACK.mix(0.3));
        chart.draw_series(line).map_err(|err| err.to_string())?;
    }
    for (name, color, value) in lines {
        for head in &heads {
            let points: Vec<(f64, f64)> = curves
                .iter()
                .enumerate()
                .filter(|(at, _)| head.contains(at))
                .filter_map(|(at, curve)| Some((at as f64 + 1.0, value(curve)?)))
                .collect();
            let series = chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(|err| err.to_string())?;
            if head.start == 0 {
                let color = *color;
                series.label(*name).legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], color.stroke_width(2))
                });
            }
        }
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::curve::Phase;
    use super::*;

    #[test]
    fn curves_become_a_picture() {
        let curve = |phase, epoch, loss| Curve {
            phase,
            member: 0,
            epoch,
            loss,
            mil: loss,
            masks: None,
            uncertainty: None,
            validation_loss: Some(loss),
            validation_accuracy: Some(1.0 - loss),
            seconds: 1.0,
        };
        let curves = [
            curve(Phase::Teacher, 1, 0.9),
            curve(Phase::Teacher, 2, 0.5),
            curve(Phase::Student, 1, 0.4),
            curve(Phase::Student, 2, 0.2),
        ];
        let svg = plot_curves("h", &curves).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("validation accuracy") && svg.matches("<polyline").count() >= 6);
        assert!(plot_curves("h", &[]).is_err());
    }
}
