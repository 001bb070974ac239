//! What stand-ins of Openverse and of Wikimedia Commons offer: photos, and everything that goes wrong with photos.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Mutex;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

use crate::support::web_server::{Answer, Asked, WebServer};

/// What is behind a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    /// The bytes of the photo with this number.
    SameBytes(u32),
    /// The photo with this number, smaller and compressed more.
    SamePicture(u32),
    Tiny,
    Drawing,
    OtherLicence,
    Broken,
    Html,
    Missing,
    /// 429 with Retry-After, then the photo.
    BusyOnce,
    Redirected,
    ToPrivateNetwork,
    ToLoop,
    Endless,
    Slow,
    CutOff,
    Forbidden,
}

/// An image that is offered.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    pub number: u32,
    pub kind: Kind,
}

impl Item {
    pub fn path(self) -> String {
        let folder = if self.kind == Kind::Forbidden {
            "private"
        } else {
            "img"
        };
        format!("/{folder}/{:?}-{}", self.kind, self.number).replace(['(', ')'], "_")
    }
}

/// A photo like no other: a smooth pattern.
pub fn pattern(number: u32) -> RgbImage {
    let mut random = fastrand::Rng::with_seed(u64::from(number) * 7919 + 1);
    let coarse = RgbImage::from_fn(7, 6, |_, _| {
        Rgb([random.u8(..), random.u8(..), random.u8(..)])
    });
    resize(&coarse, 300, 264, FilterType::Triangle)
}

fn jpeg(photo: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    photo
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))
        .unwrap();
    bytes.into_inner()
}

pub fn png(photo: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    photo.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The stand-ins, each with what it has for a word, in the order of its pages.
pub struct Offering {
    pub openverse: HashMap<String, Vec<Item>>,
    pub commons: HashMap<String, Vec<Item>>,
    /// Time that an image takes.
    pub pause: std::time::Duration,
}

impl Offering {
    /// Starts a server with both APIs and the images.
    pub fn serve(self) -> WebServer {
        let all = self.openverse.values().chain(self.commons.values());
        let by_path: HashMap<String, Item> =
            all.flatten().map(|item| (item.path(), *item)).collect();
        let busy: Mutex<HashMap<u32, u32>> = Mutex::default();
        WebServer::start(move |asked| match asked.path.as_str() {
            "/v1/images/" => self.openverse(asked),
            "/w/api.php" => self.commons(asked),
            "/robots.txt" => Answer::of("text/plain", "User-agent: *\nDisallow: /private/\n"),
            path => match by_path.get(path) {
                Some(item) => {
                    std::thread::sleep(self.pause);
                    image_of(*item, asked, &busy)
                }
                None => match path.strip_prefix("/moved/") {
                    Some(number) => {
                        Answer::of("image/jpeg", jpeg(&pattern(number.parse().unwrap()), 90))
                    }
                    None => Answer::status(404),
                },
            },
        })
    }

    fn openverse(&self, asked: &Asked) -> Answer {
        let query = |key: &str| asked.query.get(key).map_or("", String::as_str);
        let items = self.openverse.get(query("q")).cloned().unwrap_or_default();
        let size: usize = query("page_size").parse().unwrap();
        assert!(size <= 20, "more than it gives without a key");
        let page: usize = query("page").parse().unwrap();
        let pages = items.len().div_ceil(size);
        let results: Vec<Value> = items
            .iter()
            .skip((page - 1) * size)
            .take(size)
            .map(|item| {
                json!({
                    "id": item.number.to_string(), "title": format!("No. {}", item.number),
                    "url": format!("{}{}", asked.base, item.path()),
                    "foreign_landing_url": format!("https://photos.example/{}", item.number),
                    "creator": "Ann, \"the\" photographer", "creator_url": null,
                    "license": if item.kind == Kind::OtherLicence { "by-nd" } else { "by-sa" },
                    "license_version": "4.0",
                    "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
                    "category": if item.kind == Kind::Drawing { "illustration" } else { "photograph" },
                    "mature": false, "height": 264, "width": 300,
                })
            })
            .collect();
        Answer::json(&json!({
            "result_count": items.len(), "page_count": pages, "page_size": size, "page": page,
            "results": results,
        }))
    }

    fn commons(&self, asked: &Asked) -> Answer {
        let query = |key: &str| asked.query.get(key).map_or("", String::as_str);
        let text = match query("list") {
            "search" => query("srsearch"),
            _ => query("gsrsearch"),
        };
        let word = text.strip_suffix(" filetype:bitmap").unwrap();
        let items = self.commons.get(word).cloned().unwrap_or_default();
        if query("list") == "search" {
            let info = json!({"totalhits": items.len()});
            return Answer::json(&json!({"query": {"searchinfo": info, "search": []}}));
        }
        let offset: usize = query("gsroffset").parse().unwrap();
        let limit: usize = query("gsrlimit").parse().unwrap();
        let mut pages: Vec<Value> = items
            .iter()
            .enumerate()
            .skip(offset)
            .take(limit)
            .map(|(index, item)| {
                let url = format!("{}{}", asked.base, item.path());
                json!({
                    "pageid": item.number, "ns": 6, "title": format!("File:No. {}.jpg", item.number),
                    "index": index + 1,
                    "imageinfo": [{
                        "size": 1, "width": 300, "height": 264, "url": url,
                        "thumburl": format!("{url}?thumb"),
                        "descriptionurl": format!("https://commons.example/File:{}", item.number),
                        "mime": "image/jpeg",
                        "mediatype": if item.kind == Kind::Drawing { "DRAWING" } else { "BITMAP" },
                        "extmetadata": {
                            "Artist": {"value": "<a href=\"//x\">Bob</a>", "source": "commons-desc-page"},
                            "LicenseShortName": {
                                "value": if item.kind == Kind::OtherLicence { "GFDL" } else { "CC BY 2.0" },
                            },
                            "LicenseUrl": {"value": "https://creativecommons.org/licenses/by/2.0"},
                        },
                    }],
                })
            })
            .collect();
        // The API orders pages by id, not by rank.
        pages.sort_by_key(|page| page["pageid"].as_u64());
        if pages.is_empty() {
            return Answer::json(&json!({"batchcomplete": true}));
        }
        let mut answer = json!({"query": {"pages": pages}});
        if items.len() > offset + limit {
            answer["continue"] = json!({"gsroffset": offset + limit, "continue": "gsroffset||"});
        }
        Answer::json(&answer)
    }
}

fn image_of(item: Item, asked: &Asked, busy: &Mutex<HashMap<u32, u32>>) -> Answer {
    let photo = || jpeg(&pattern(item.number), 90);
    let good = || Answer::of("image/jpeg", photo());
    match item.kind {
        Kind::Good | Kind::OtherLicence | Kind::Drawing | Kind::Forbidden => good(),
        Kind::SameBytes(of) => Answer::of("image/jpeg", jpeg(&pattern(of), 90)),
        Kind::SamePicture(of) => {
            let smaller = resize(&pattern(of), 280, 257, FilterType::Lanczos3);
            Answer::of("image/jpeg", jpeg(&smaller, 60))
        }
        Kind::Tiny => {
            let tiny = resize(&pattern(item.number), 120, 90, FilterType::Triangle);
            Answer::of("image/png", png(&tiny))
        }
        Kind::Broken => {
            let mut bytes = photo();
            bytes.truncate(bytes.len() / 2);
            bytes.truncate(600);
            Answer::of("image/jpeg", bytes)
        }
        Kind::Html => Answer::of("text/html; charset=utf-8", "<p>Please log in</p>"),
        Kind::Missing => Answer::status(404),
        Kind::BusyOnce => {
            let mut busy = busy.lock().unwrap();
            let times = busy.entry(item.number).or_default();
            *times += 1;
            if *times == 1 {
                Answer::wait(429, 1)
            } else {
                good()
            }
        }
        Kind::Redirected => Answer::redirect(&format!("/moved/{}", item.number)),
        Kind::ToPrivateNetwork => {
            let places = [
                "http://169.254.169.254/latest/meta-data/",
                "http://127.0.0.1:9/secret",
                "http://localhost:9/secret",
                "http://[::1]:9/secret",
                "https://10.0.0.1/secret",
            ];
            Answer::redirect(places[item.number as usize % places.len()])
        }
        Kind::ToLoop => Answer::redirect(&asked.path),
        Kind::Endless => Answer::Endless,
        Kind::Slow => Answer::Slow,
        Kind::CutOff => Answer::CutOff(photo()),
    }
}
