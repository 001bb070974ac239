//! A running Stable Diffusion server with AUTOMATIC1111's API; Forge and SD.Next have the same.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};

use super::{Generator, Picture, Prompt};
use crate::Result;
use crate::error::CollectError;

/// Attempts for one image, and the wait after the first, which doubles.
const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Time to connect, and to answer what needs no image.
const PREPARE: Duration = Duration::from_secs(20);

/// The server, and the options of its images.
#[derive(Debug, Clone)]
pub struct Automatic1111 {
    url: Url,
    client: Client,
    /// Keys of the request beside prompt and seed, such as `steps`, `width`, `negative_prompt`.
    options: Map<String, Value>,
}

impl Automatic1111 {
    /// A server at an address such as `http://127.0.0.1:7860`. `options` are keys of `/sdapi/v1/txt2img` that go with
    /// every request; an image may take `timeout`.
    ///
    /// # Errors
    /// [`CollectError::Server`] for something that is no URL.
    pub fn at(url: &str, options: Map<String, Value>, timeout: Duration) -> Result<Self> {
        let failed = |reason: String| CollectError::Server {
            server: url.to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|err| {
            failed(format!(
                "it is no URL ({err}); expected one such as http://127.0.0.1:7860"
            ))
        })?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(failed("expected a URL such as http://127.0.0.1:7860".to_owned()).into());
        }
        let client = Client::builder()
            .connect_timeout(PREPARE)
            .timeout(timeout)
            .build();
        Ok(Self {
            url: parsed,
            client: client.map_err(|err| failed(err.to_string()))?,
            options,
        })
    }

    fn endpoint(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/sdapi/v1/{name}"));
        url
    }

    fn failed(&self, reason: impl Into<String>) -> CollectError {
        CollectError::Server {
            server: self.url.to_string(),
            reason: reason.into(),
        }
    }

    /// Asks once. The flag of an error says whether another attempt may help.
    async fn once(&self, body: &Value) -> Result<Picture, (String, bool)> {
        let asked = self.client.post(self.endpoint("txt2img")).json(body).send();
        let answer = asked.await.map_err(|err| (plain(&err), true))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|err| (plain(&err), true))?;
        if !status.is_success() {
            let told: Value = serde_json::from_str(&text).unwrap_or_default();
            let told = ["/errors", "/error", "/detail"].iter().find_map(|path| {
                let told = told.pointer(path)?.as_str()?;
                (!told.is_empty()).then(|| format!(": {told}"))
            });
            let reason = format!("answers {}{}", status.as_u16(), told.unwrap_or_default());
            return Err((reason, status.is_server_error() || status.as_u16() == 429));
        }
        let answer: Value = serde_json::from_str(&text)
            .map_err(|err| (format!("its answer is no JSON: {err}"), false))?;
        let image = answer.pointer("/images/0").and_then(Value::as_str);
        let image = image.ok_or_else(|| ("its answer holds no image".to_owned(), false))?;
        // Some forks answer with a data URL.
        let image = image.rsplit_once(',').map_or(image, |(_, data)| data);
        STANDARD
            .decode(image)
            .map_err(|err| (format!("its image is not base64: {err}"), false))
    }
}

/// An error's last cause, without the URL.
fn plain(err: &reqwest::Error) -> String {
    if err.is_timeout() {
        return "no answer in time; --timeout allows for more".to_owned();
    }
    let mut cause: &dyn std::error::Error = err;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[async_trait]
impl Generator for Automatic1111 {
    fn name(&self) -> &'static str {
        "automatic1111"
    }

    fn settings(&self) -> Map<String, Value> {
        self.options.clone()
    }

    async fn prepare(&self, _labels: &[&str]) -> Result<()> {
        let asked = self.client.get(self.endpoint("samplers")).timeout(PREPARE);
        let answer = asked.send().await.map_err(|err| {
            self.failed(format!(
                "no server answers there ({}); start it with --api",
                plain(&err)
            ))
        })?;
        match answer.status().as_u16() {
            200..300 => Ok(()),
            401 | 403 => Err(self
                .failed(
                    "it asks for a login; put it into the address, as in http://USER:PASSWORD@HOST",
                )
                .into()),
            code => Err(self
                .failed(format!(
                    "it answers {code} to /sdapi/v1/samplers; start it with --api"
                ))
                .into()),
        }
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Picture> {
        let mut body = self.options.clone();
        body.insert("prompt".to_owned(), json!(prompt.text));
        body.insert("seed".to_owned(), json!(prompt.seed));
        body.insert("batch_size".to_owned(), json!(1));
        body.insert("n_iter".to_owned(), json!(1));
        body.insert("send_images".to_owned(), json!(true));
        body.insert("save_images".to_owned(), json!(false));
        let body = Value::Object(body);
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            match self.once(&body).await {
                Ok(picture) => return Ok(picture),
                Err((reason, false)) => return Err(self.failed(reason).into()),
                Err((reason, true)) if attempt == ATTEMPTS => {
                    return Err(self.failed(reason).into());
                }
                Err(_) => tokio::time::sleep(wait).await,
            }
            attempt += 1;
            wait *= 2;
        }
    }
}
