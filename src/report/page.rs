//! The page: self-contained HTML without scripts and without requests to anywhere.

use std::collections::HashMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{self, ClassBars};
use super::data::{Confusion, Evaluated, ReportData};
use super::pictures::Gallery;
use crate::Result;
use crate::eval::{CeilingRow, Metric};
use crate::picture::class_color;

const STYLE: &str = include_str!("style.css");
/// Maximum number of classes in a confusion matrix, besides the background.
const MATRIX: usize = 25;

/// Renders the complete page.
///
/// # Errors
/// [`crate::Error::EncodeImage`] if a chart cannot be drawn.
pub(super) fn page(data: &ReportData, galleries: &[Gallery]) -> Result<String> {
    let title = format!("Head '{}'", data.head.head);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " - grainstore" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p.soft { (subtitle(data)) }
                (key_figures(data))
                @if let Some(evaluated) = &data.evaluated {
                    (classes(data, evaluated)?)
                    (ceiling(evaluated))
                }
                (curves(data)?)
                @if let Some(evaluated) = &data.evaluated {
                    (confusion(data, &evaluated.confusion)?)
                }
                @for gallery in galleries {
                    (images(gallery))
                }
                (lineage(data))
                footer {
                    "Made by grainstore " (env!("CARGO_PKG_VERSION")) " from version " (data.store_version)
                    " of the store. Metrics: queries/eval; pixels are ignored that are void, of a crowd, or of objects of "
                    "two classes; average precision as COCO has it."
                }
            }
        }
    };
    Ok(page.into_string())
}

fn subtitle(data: &ReportData) -> String {
    let classes = format!(
        "{} classes of '{}'",
        data.classes.classes.len(),
        data.classes.name
    );
    match &data.evaluated {
        Some(evaluated) => format!(
            "{classes}, evaluated on {} images of data set '{}'",
            evaluated.evaluation.images, evaluated.evaluation.dataset
        ),
        None => format!("{classes}; the store has no annotations to evaluate it on"),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

/// A metric of a class, or over all classes; no two queries have metrics of the same name.
fn metric_of(evaluated: &Evaluated, class: Option<&str>, metric: &str) -> Option<f64> {
    let is_it = |it: &&Metric| it.metric == metric && it.class.as_deref() == class;
    let found = evaluated.evaluation.metrics.iter().find(is_it);
    found.and_then(|it| it.value)
}

fn key_figures(data: &ReportData) -> Markup {
    let mut cards: Vec<(&str, String)> = Vec::new();
    if let Some(evaluated) = &data.evaluated {
        for (name, metric) in [
            ("mIoU", "miou"),
            ("mIoU, classes alone", "miou_classes"),
            ("Boundary mIoU", "boundary_miou"),
            ("mask AP50", "ap50"),
            ("mask AP", "ap"),
            ("box AP50", "box_ap50"),
            ("calibration error", "ece"),
        ] {
            cards.push((name, number(metric_of(evaluated, None, metric))));
        }
    }
    cards.push(("images annotated", data.policy.images.to_string()));
    cards.push((
        "masks kept",
        format!("{} of {}", data.policy.kept, data.policy.masks),
    ));
    html! {
        div.cards {
            @for (name, value) in cards {
                div.card { div.soft { (name) } div.number { (value) } }
            }
        }
    }
}

/// The best that any head could reach with these masks, beside what this one reaches.
fn ceiling(evaluated: &Evaluated) -> Markup {
    let best = &evaluated.ceiling;
    let share = |row: &CeilingRow| {
        let share = row.uncovered as f64 / row.objects.max(1) as f64;
        format!("{:.1} %", share * 100.0)
    };
    let name = |row: &CeilingRow| match (&row.class, row.area.as_str()) {
        (Some(class), _) => class.clone(),
        (None, area) => format!("{area} objects"),
    };
    let own = |row: &CeilingRow, metric: &str| {
        let class = row.class.as_deref();
        let of_all = row.class.is_some() || row.area == "all";
        number(
            of_all
                .then(|| metric_of(evaluated, class, metric))
                .flatten(),
        )
    };
    let shown = |row: &&CeilingRow| row.class.is_none() || row.area == "all";
    let columns = [
        "count",
        "uncovered",
        "mean IoU",
        "best AP50",
        "this head's AP50",
        "best AR@100",
    ];
    html! {
        h2 { "What these masks allow" }
        p.soft {
            "Of a head that knows the class of every mask and scores it by its IoU: mIoU " (number(best.miou))
            ", where this head has " (number(metric_of(evaluated, None, "miou")))
            ". Objects are uncovered if no mask has an IoU of 0.5 with them."
        }
        div class="card wide" {
            table {
                thead { tr { th { "objects" } @for name in columns { th.n { (name) } } } }
                tbody {
                    @for row in best.rows.iter().filter(shown) {
                        tr {
                            td { (name(row)) }
                            @for value in [
                                row.objects.to_string(),
                                share(row),
                                number(row.mean_iou),
                                number(row.ap50),
                                own(row, "ap50"),
                                number(row.ar_100),
                            ] { td.n { (value) } }
                        }
                    }
                }
            }
        }
    }
}

fn legend(entries: &[(String, String)]) -> Markup {
    html! {
        div.legend {
            @for (name, color) in entries {
                span style={ "--own:" (color) } { (name) }
            }
        }
    }
}

fn css(index: usize) -> String {
    let [red, green, blue] = class_color(index).0;
    format!("rgb({red},{green},{blue})")
}

fn chart(title: &str, about: &str, svg: String, below: Markup) -> Markup {
    html! {
        div.card {
            h3 { (title) }
            p.soft { (about) }
            (PreEscaped(svg))
            (below)
        }
    }
}

fn classes(data: &ReportData, evaluated: &Evaluated) -> Result<Markup> {
    let names = data.classes.class_names();
    let bars: Vec<ClassBars> = names
        .iter()
        .map(|class| ClassBars {
            class: class.clone(),
            metrics: [
                metric_of(evaluated, Some(class), "iou"),
                metric_of(evaluated, Some(class), "ap50"),
            ],
        })
        .collect();
    let two = [
        ("IoU".to_owned(), charts::FIRST_INK.to_owned()),
        ("AP50".to_owned(), charts::SECOND_INK.to_owned()),
    ];
    let columns = [
        ("IoU", "iou"),
        ("AP", "ap"),
        ("AP50", "ap50"),
        ("box AP50", "box_ap50"),
    ];
    Ok(html! {
        h2 { "Classes" }
        div.charts {
            (chart("IoU and AP50", "pixels of all images together; masks at IoU 0.5", charts::class_bars(&bars)?, legend(&two)))
            div class="card wide" {
                table {
                    thead { tr { th { "class" } @for (name, _) in columns { th.n { (name) } } } }
                    tbody {
                        tr {
                            td { "background" }
                            td.n { (number(metric_of(evaluated, Some("background"), "iou"))) }
                            @for _ in 1..columns.len() { td.n { "-" } }
                        }
                        @for (index, class) in names.iter().enumerate() {
                            tr {
                                td { span.chip style={ "--own:" (css(index)) } { (class) } }
                                @for (_, metric) in columns { td.n { (number(metric_of(evaluated, Some(class), metric))) } }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn curves(data: &ReportData) -> Result<Markup> {
    let names = data.classes.class_names();
    let colors: Vec<(String, String)> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.clone(), css(index)))
        .collect();
    let losses = [
        ("training".to_owned(), charts::FIRST_INK.to_owned()),
        ("validation".to_owned(), charts::SECOND_INK.to_owned()),
    ];
    Ok(html! {
        h2 { "Curves" }
        div.charts {
            @if let Some(evaluated) = &data.evaluated {
                (chart(
                    "Precision and recall",
                    "of the masks that are kept, at IoU 0.5, from the surest on",
                    charts::precision_recall(&evaluated.precision_recall, &names)?,
                    legend(&colors),
                ))
                (chart(
                    "Calibration",
                    "bars on the line: a score is the share that is right; numbers are detections",
                    charts::calibration(&evaluated.calibration)?,
                    html! {},
                ))
            }
            @if !data.curves.is_empty() {
                (chart("Training", "multiple-instance loss", charts::losses(&data.curves)?, legend(&losses)))
            }
        }
    })
}

fn confusion(data: &ReportData, found: &[Confusion]) -> Result<Markup> {
    let mut sums: HashMap<&str, i64> = HashMap::new();
    for cell in found {
        *sums.entry(cell.truth.as_str()).or_default() += cell.pixels;
    }
    // In the order of the class set; if there are too many classes, those with the most pixels.
    let mut names = data.classes.class_names();
    names.retain(|name| {
        found
            .iter()
            .any(|cell| cell.truth == *name || cell.predicted == *name)
    });
    let left_out = names.len().saturating_sub(MATRIX);
    if left_out > 0 {
        let mut by_pixels: Vec<i64> = names
            .iter()
            .map(|name| sums.get(name.as_str()).copied().unwrap_or(0))
            .collect();
        by_pixels.sort_unstable_by(|a, b| b.cmp(a));
        let least = by_pixels.get(MATRIX - 1).copied().unwrap_or(0);
        names.retain(|name| sums.get(name.as_str()).copied().unwrap_or(0) >= least);
        names.truncate(MATRIX);
    }
    names.insert(0, "background".to_owned());
    let place = |name: &str| names.iter().position(|it| it == name);
    let cells: Vec<(usize, usize, f64)> = found
        .iter()
        .filter_map(|cell| {
            let sum = sums.get(cell.truth.as_str()).copied().unwrap_or(0).max(1);
            Some((
                place(&cell.truth)?,
                place(&cell.predicted)?,
                cell.pixels as f64 / sum as f64,
            ))
        })
        .collect();
    Ok(html! {
        h2 { "Confusion" }
        p.soft {
            "Rows: what is annotated; columns: what is predicted. In percent of the row's pixels."
            @if left_out > 0 { " The " (MATRIX) " classes with the most pixels; " (left_out) " more are left out." }
        }
        div class="card wide" { (PreEscaped(charts::confusion(&names, &cells)?)) }
    })
}

fn images(gallery: &Gallery) -> Markup {
    html! {
        h2 { (gallery.title) }
        p.soft { (gallery.about) }
        div.images {
            @for card in &gallery.cards {
                div.card {
                    div.pair {
                        @for (caption, address) in &card.parts {
                            figure {
                                img src=(address) alt={ (caption) " of " (card.file_name) };
                                figcaption { (caption) }
                            }
                        }
                    }
                    div { (card.figure) span.soft title=(card.image_id.as_str()) { " " (card.file_name) } }
                }
            }
        }
    }
}

fn lineage(data: &ReportData) -> Markup {
    let head = &data.head;
    let created = head.created_at.format("%Y-%m-%d %H:%M UTC");
    let trained_at = match head.store_version {
        Some(version) => version.to_string(),
        None => "that of another store".to_owned(),
    };
    let mut rows: Vec<(&str, String)> = vec![
        ("head", format!("{} ({})", head.head, head.head_id)),
        ("class set", head.class_set_at_version()),
        (
            "made",
            match &head.device {
                Some(device) => format!("{created}, in {:.1} s on {device}", head.seconds),
                None => format!("{created}, imported from '{}'", head.query),
            },
        ),
        (
            "trained on",
            format!("{} images, {} masks", head.images_read, head.rows_read),
        ),
        (
            "store version",
            format!("{} when trained, {} here", trained_at, data.store_version),
        ),
        (
            "seed",
            head.seed.map_or("none".to_owned(), |seed| seed.to_string()),
        ),
        (
            "layers",
            format!(
                "{:?}, dropout {}",
                data.spec.head.hidden, data.spec.head.dropout
            ),
        ),
    ];
    if let Some(parent) = &data.parent {
        rows.push(("trained on from", parent.clone()));
    }
    if let Some(extractor) = &data.extractor {
        rows.push((
            "extractor",
            format!("{}, {}", extractor.model(), extractor.checkpoint),
        ));
        rows.push(("checkpoint SHA-256", extractor.checkpoint_sha256.clone()));
        rows.push(("mask options", extractor.options.clone()));
    }
    rows.push((
        "annotation policy",
        format!("{} ({})", data.policy.policy, data.policy.policy_id),
    ));
    rows.push(("grainstore", head.grainstore_version.clone()));
    html! {
        h2 { "Lineage" }
        div.card {
            table { tbody { @for (name, value) in rows { tr { th { (name) } td { (value) } } } } }
            details { summary { "training query" } pre { (head.query) } }
            details { summary { "training options" } pre { (head.spec) } }
        }
    }
}
