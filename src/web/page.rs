//! The pages: a bar with the views, and for each view what its script fills.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, Redirect};
use maud::{DOCTYPE, Markup, html};

use super::app::App;
use super::failure::Answered;

/// A view: its path, its name, and the key that opens it after `g`.
const VIEWS: [(&str, &str, &str); 6] = [
    ("queue", "Queue", "q"),
    ("grid", "Grid", "g"),
    ("image", "Image", "i"),
    ("classes", "Classes", "c"),
    ("heads", "Heads", "h"),
    ("sql", "SQL", "s"),
];

/// `GET /`: the queue is where work begins.
pub async fn start() -> Redirect {
    Redirect::to("/queue")
}

/// `GET /queue`: one mask after the other.
pub async fn queue(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    page(&app, "queue", &html! {
        form.tools #tools {
            label { "Queue " select name="kind" {} }
            label { "Head " select name="head" {} }
            label.grow.images { "Images where " input name="where" placeholder="split = 'train'" spellcheck="false"; }
            label.grow.own hidden { "SELECT " input name="sql" placeholder="SELECT extractor_id, image_id, mask_index FROM masks WHERE area > 5000" spellcheck="false"; }
            button { "Show" }
            button #train type="button" title="Train a head from all labels (t)" { "Train…" }
        }
        div.review {
            figure.photo {
                canvas #photo tabindex="0" aria-label="the photo, with the mask outlined" {}
                figcaption #why {}
            }
            aside.side {
                img #crop alt="the mask alone";
                div #classes.classes role="group" aria-label="classes" {}
                div.row {
                    button #none type="button" { kbd { "x" } " none of them" }
                    button #bad type="button" { kbd { "b" } " bad mask" }
                    button #skip type="button" { kbd { "s" } " skip" }
                    button #undo type="button" { kbd { "u" } " undo" }
                }
                p.soft.keys {
                    kbd { "Enter" } " the first · " kbd { "1" } "–" kbd { "9" } " a class · " kbd { "/" } " type one · "
                    kbd { "←" } kbd { "→" } " back, forth · " kbd { "f" } " whole photo · " kbd { "z" } " closer · "
                    kbd { "o" } " open the image · " kbd { "l" } " masks like it"
                }
            }
        }
        footer.counts #counts aria-live="polite" {}
    })
    .await
}

/// `GET /grid`: many alike masks at once.
pub async fn grid(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    page(&app, "grid", &html! {
        form.tools #tools {
            label { "Head " select name="head" {} }
            label { "Class " select name="class" {} }
            label { "Masks " select name="by" {
                option value="head" { "that the head calls it" }
                option value="labels" { "like its labelled ones" }
            } }
            label { "Sort " select name="sort" {
                option value="score" { "best first" }
                option value="unsure" { "least sure first" }
                option value="area" { "largest first" }
            } }
            span.soft #like {}
            button #train type="button" title="Train a head from all labels (t)" { "Train…" }
        }
        p.soft { "Click what is wrong, or drag over it. " kbd { "Enter" } " gives all others the class; what is marked goes to the queue." }
        div.row.actions {
            button #accept type="button" {}
            button #more type="button" { "Show others" }
            button #undo type="button" { kbd { "u" } " undo" }
        }
        div.grid #grid role="listbox" aria-multiselectable="true" aria-label="masks" {}
        footer.counts #counts aria-live="polite" {}
    })
    .await
}

/// `GET /image`: a photo with all its masks.
pub async fn image(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    page(&app, "image", &html! {
        form.tools #tools {
            label.grow { "Image " input name="image" list="names" placeholder="file name" spellcheck="false"; }
            datalist #names {}
            label { "Head " select name="head" {} }
            button { "Show" }
            button #before type="button" { "←" }
            button #after type="button" { "→" }
        }
        div.review {
            figure.photo {
                canvas #photo tabindex="0" aria-label="the photo with its masks" {}
                figcaption #why {}
            }
            aside.side {
                div #classes.classes role="group" aria-label="classes" {}
                div.row {
                    button #none type="button" { kbd { "x" } " none of them" }
                    button #bad type="button" { kbd { "b" } " bad mask" }
                    button #undo type="button" { kbd { "u" } " undo" }
                }
                @if app.model.is_some() && !app.is_read_only() {
                    div.row {
                        button #add type="button" aria-pressed="false" { kbd { "a" } " add a mask" }
                        button #brush type="button" aria-pressed="false" { kbd { "e" } " brush" }
                        button #keep type="button" disabled { kbd { "Enter" } " keep" }
                    }
                    p #adding.soft.keys hidden {
                        "Hold " kbd { "a" } " or press the button: click the object (with " kbd { "Shift" } " what is not of it), or drag a box. "
                        kbd { "+" } kbd { "-" } " go to a larger or smaller mask, " kbd { "u" } " takes the last click back, " kbd { "Esc" } " all. "
                        "The brush adds pixels to the chosen mask, with " kbd { "Shift" } " it takes them away; " kbd { "[" } kbd { "]" }
                        " change its size. Enter keeps the mask; a class key labels it, too."
                    }
                }
                p.soft.keys {
                    "Point at a mask: the smallest is chosen, the wheel or " kbd { "+" } kbd { "-" } " go to larger ones. Click keeps it; "
                    kbd { "Tab" } " goes through the masks; a key labels. " kbd { "m" } " shows or hides all masks."
                }
                div #masks.list {}
            }
        }
        footer.counts #counts aria-live="polite" {}
    })
    .await
}

/// `GET /classes`: words and the sets that group them.
pub async fn classes(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    page(&app, "classes", &html! {
        form.tools #tools {
            label { "Class set " select name="set" {} }
            label { "New set " input #name placeholder="name" spellcheck="false"; }
            button #create type="button" { "Create" }
            button #save type="button" { "Save a new version" }
            button #train type="button" title="Train a head for this set (t)" { "Train…" }
        }
        p.soft {
            "Drag words between classes; no mask is touched. With the keyboard: choose a word, then the class that it goes to."
        }
        div.board #board {}
        p #changes.soft aria-live="polite" {}
    })
    .await
}

/// `GET /heads`: heads and how they did.
pub async fn heads(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    page(
        &app,
        "heads",
        &html! {
            form.tools #tools {
                label { "Compare " select name="head" {} }
                label { "with " select name="other" {} }
                button { "Compare" }
                button #train type="button" { "Train…" }
            }
            div #compared {}
            div.wide #heads {}
        },
    )
    .await
}

/// `GET /sql`: a console.
pub async fn sql(State(app): State<Arc<App>>) -> Answered<Html<String>> {
    let saved = super::sql::saved()?;
    page(&app, "sql", &html! {
        div.console {
            form #tools {
                textarea #sql name="sql" rows="6" spellcheck="false" aria-label="query" {
                    "SELECT label, count(*) AS masks\nFROM mask_labels\nGROUP BY label\nORDER BY masks DESC"
                }
                div.row {
                    button { "Run " kbd { "Ctrl Enter" } }
                    button #review type="button" { "Review these masks" }
                    button #csv type="button" { "Copy as CSV" }
                    span.soft #told aria-live="polite" {}
                }
            }
            details.saved open {
                summary { "Queries" }
                @for (name, asks, text) in &saved {
                    button type="button" title=(asks) data-sql=(text) { (name) }
                }
            }
        }
        div.wide #rows {}
    })
    .await
}

async fn page(app: &App, view: &str, content: &Markup) -> Answered<Html<String>> {
    let snapshot = app.store.snapshot().await?;
    let head = app.head(&snapshot, None).await?.unwrap_or_default();
    let name = VIEWS.iter().find(|(path, ..)| *path == view);
    let name = name.map_or(view, |(_, name, _)| name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) " - grainstore" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="data:,";
                script type="module" src=(format!("/assets/{view}.js")) {}
            }
            body data-head=(head) data-reviewer=(app.reviewer.as_deref().unwrap_or_default())
                data-read-only[app.is_read_only()] data-adds[app.model.is_some() && !app.is_read_only()] {
                nav.bar aria-label="views" {
                    @for (path, name, key) in VIEWS {
                        a href=(format!("/{path}")) aria-current=[(path == view).then_some("page")]
                            title=(format!("{name} (g {key})")) { (name) }
                    }
                }
                main {
                    h1.hidden { (name) }
                    (content)
                }
                div #job.job hidden role="status" {}
                div #toasts aria-live="assertive" {}
            }
        }
    };
    Ok(Html(page.into_string()))
}
