//! A person's session on the page, in Chromium driven through WebDriver.

use super::*;

/// Set where no browser can be installed; `./run test` says so.
const WITHOUT: &str = "GRAINSTORE_NO_BROWSER";

/// A headless Chromium, driven through the few calls of WebDriver that these tests need. The crates that know them all
/// bring features of `syn` by which every dependency would be built twice.
pub(super) struct Browser {
    driver: Child,
    /// `127.0.0.1:PORT`
    host: String,
    /// `/session/ID`
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts a browser; `None` where there is none and the environment says that this is known.
    pub(super) async fn start() -> Option<Self> {
        if !is_on_path("chromedriver") {
            assert!(
                std::env::var_os(WITHOUT).is_some(),
                "chromedriver is not installed: './run test' installs it, or sets {WITHOUT} where it cannot"
            );
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .args(["--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, port) = line.split_once("started successfully on port ")?;
                Some(port.trim_end_matches('.').to_owned())
            })
            .unwrap();
        // What it prints later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let options = json!({
            "goog:chromeOptions": { "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"] },
        });
        let mut browser = Self {
            driver,
            host: format!("127.0.0.1:{port}"),
            session: "/session".to_owned(),
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": options } });
        let session = browser.call("", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    /// Calls WebDriver, and gives back the value of its answer.
    fn call(&self, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        let headers = [format!("Host: {}", self.host)];
        let answer = request(
            &self.host,
            "POST",
            &path,
            &headers,
            body.to_string().as_bytes(),
        );
        let value = answer.json()["value"].take();
        assert_eq!(answer.status, 200, "{path}: {value}");
        value
    }

    pub(super) async fn go(&self, url: &str) {
        self.call("/url", &json!({ "url": url }));
    }

    pub(super) async fn js(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    pub(super) async fn text(&self, selector: &str) -> String {
        let text = format!("return document.querySelector('{selector}')?.innerText ?? ''");
        self.js(&text).await.as_str().unwrap().to_owned()
    }

    pub(super) async fn press(&self, keys: &[char]) {
        let actions = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })));
        let actions: Vec<Value> = actions.collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Presses a key and holds it.
    pub(super) async fn hold(&self, key: char) {
        self.key("keyDown", key).await;
    }

    pub(super) async fn let_go(&self, key: char) {
        self.key("keyUp", key).await;
    }

    async fn key(&self, kind: &str, key: char) {
        let actions = [json!({ "type": kind, "value": key })];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Clicks a place of an element, given as shares of its width and height.
    pub(super) async fn click_at(&self, selector: &str, x: f64, y: f64) {
        let place = format!(
            "const box = document.querySelector('{selector}').getBoundingClientRect(); \
             return [box.x + box.width * {x}, box.y + box.height * {y}].map(Math.round)"
        );
        let place = self.js(&place).await;
        let actions = [
            json!({ "type": "pointerMove", "duration": 20, "x": place[0], "y": place[1] }),
            json!({ "type": "pointerDown", "button": 0 }),
            json!({ "type": "pointerUp", "button": 0 }),
        ];
        let mouse = json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions,
        });
        self.call("/actions", &json!({ "actions": [mouse] }));
    }

    /// Presses the mouse in the middle of an element, moves it through others, and lets go.
    async fn drag(&self, elements: &[&str]) {
        let mut actions = Vec::new();
        for selector in elements {
            let middle = format!(
                "const box = document.querySelector(\"{selector}\").getBoundingClientRect(); \
                 return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round)"
            );
            let middle = self.js(&middle).await;
            actions.push(
                json!({ "type": "pointerMove", "duration": 40, "x": middle[0], "y": middle[1] }),
            );
            if actions.len() == 1 {
                actions.push(json!({ "type": "pointerDown", "button": 0 }));
            }
        }
        actions.push(json!({ "type": "pointerUp", "button": 0 }));
        let mouse = json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions,
        });
        self.call("/actions", &json!({ "actions": [mouse] }));
    }

    /// Waits until the page says that this number of labels is saved.
    async fn saved(&self, count: usize) {
        let expected = format!("{count} saved");
        until(&expected, async || self.text("#saved").await == expected).await;
    }

    /// Waits until the mask at a place of the queue is painted.
    async fn painted(&self, place: usize) {
        let script = "return document.querySelector('#photo').dataset.shown";
        until("a mask is painted", async || {
            self.js(script).await.as_str() == Some(&place.to_string())
        })
        .await;
    }

    /// Whether every script ran without an error and every request was answered.
    pub(super) async fn is_quiet(&self) {
        assert_eq!(self.text("#toasts").await, "");
    }
}

impl Page {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn start(&self) -> String {
        format!("{}/?token={}", self.origin, self.token)
    }
}

/// WebDriver's code of the key Enter.
const ENTER: char = '\u{e007}';

#[tokio::test(flavor = "multi_thread")]
async fn a_person_labels_two_hundred_masks_by_keys_and_trains() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let made = Made::new().await;
    let mut page = made.page(&["--reviewer", "anna", "--head", "h"]);
    browser.go(&page.start()).await;
    let ordered = "SELECT extractor_id, image_id, mask_index FROM masks JOIN images USING (image_id) ORDER BY file_name, mask_index";
    let queue = format!("/queue?kind=sql&sql={}", ordered.replace(' ', "%20"));
    browser.go(&page.at(&queue)).await;
    browser.painted(0).await;
    assert_eq!(
        browser
            .text(".classes button:nth-child(2)")
            .await
            .replace('\n', " ")
            .split(' ')
            .next(),
        Some("2")
    );

    // The next mask does not wait until the one before is saved.
    let keys = ['1', '2', '3', 'x', 'b'];
    for n in 0..200 {
        browser.press(&[keys[n % keys.len()]]).await;
        browser.painted(n + 1).await;
    }
    browser.saved(200).await;
    let said = |made: &Made| {
        made.sql("SELECT l.verdict, l.label, l.reviewer, l.queue, l.seconds FROM mask_labels l JOIN images i USING (image_id) ORDER BY i.file_name, l.mask_index, l.created_at")
    };
    let rows = said(&made);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 200);
    for (n, row) in rows.iter().enumerate() {
        let (verdict, label) = match n % 5 {
            4 => ("bad mask", None),
            3 => ("is", None),
            class => ("is", Some(LABELS[class])),
        };
        let found = (
            row["verdict"].as_str(),
            row.get("label").and_then(Value::as_str),
        );
        assert_eq!(found, (Some(verdict), label), "mask {n}");
        assert_eq!(
            (&row["reviewer"], &row["queue"]),
            (&json!("anna"), &json!("sql"))
        );
        assert!(row["seconds"].as_f64().unwrap() >= 0.0);
    }

    // The last three are taken back, one after the other, and the last of them is said again.
    browser.press(&['u', 'u', 'u']).await;
    browser.painted(197).await;
    browser.press(&['1']).await;
    browser.saved(198).await;
    let counting = "SELECT count(*) AS n FROM (SELECT row_number() OVER (PARTITION BY image_id, mask_index ORDER BY created_at DESC) AS place, verdict FROM mask_labels) WHERE place = 1 AND verdict <> 'undone'";
    assert_eq!(made.sql(counting)[0]["n"], 198);
    browser.is_quiet().await;

    // A kill between two keys loses none of them, and the page that is opened next goes on.
    browser.press(&['2']).await;
    browser.saved(199).await;
    page.child.kill().unwrap();
    page.child.wait().unwrap();
    browser.press(&['3']).await;
    until("the page tells that nothing is saved", async || {
        browser.text("dialog[open]").await.contains("Not saved")
    })
    .await;
    assert_eq!(made.sql(counting)[0]["n"], 199);
    let page = made.page(&["--reviewer", "anna"]);
    browser.go(&page.start()).await;
    browser.go(&page.at("/queue?kind=unlabelled")).await;
    browser.painted(0).await;
    until("counts", async || {
        browser.text("#counts").await.contains("199 labelled today")
    })
    .await;
    assert!(browser.text("#counts").await.contains("41 left"));

    // The grid: two are marked, the others get the class.
    browser.go(&page.at("/grid?head=h&class=dog")).await;
    until("the grid", async || {
        browser
            .js("return document.querySelectorAll('.grid [data-place]').length")
            .await
            .as_u64()
            > Some(2)
    })
    .await;
    let cells = browser
        .js("return document.querySelectorAll('.grid [data-place]').length")
        .await
        .as_u64()
        .unwrap();
    browser
        .drag(&[".grid [data-place='0']", ".grid [data-place='1']"])
        .await;
    let marked = "return document.querySelectorAll('.grid [aria-selected=true]').length";
    assert_eq!(browser.js(marked).await, 2);
    browser.js("document.activeElement.blur()").await;
    browser.press(&[ENTER]).await;
    browser.saved(cells as usize - 2).await;
    assert_eq!(made.count("mask_labels WHERE queue = 'grid class' AND label = 'dog' AND score > 0 AND head_id IS NOT NULL"), cells - 2);

    // Training from the page: the newest head of the name takes over the queue.
    browser.go(&page.at("/queue?kind=uncertain&head=h")).await;
    browser.painted(0).await;
    browser.press(&['t']).await;
    until("the dialog", async || {
        browser
            .js("return Boolean(document.querySelector('dialog[open]'))")
            .await
            == true
    })
    .await;
    browser.js("document.querySelector('dialog [name=loss]').value = 'linear'; document.querySelector('dialog button.main').click()").await;
    until("the training", async || {
        !browser.text("#trained").await.is_empty()
    })
    .await;
    let told = browser.text("#trained").await;
    assert!(
        told.starts_with("Head 'h'") && told.contains("of your last"),
        "without annotations, it is compared with the labels: {told}"
    );
    assert_eq!(made.count("heads WHERE head = 'h'"), 2);
    browser.is_quiet().await;
    page.end();
    made.program.expect(0, &["check"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_opens_and_does_its_work() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let made = Made::new().await;
    let page = made.page(&["--reviewer", "anna"]);
    browser.go(&page.start()).await;

    // Image: a click chooses the smallest mask under the pointer, a key labels it.
    browser.go(&page.at("/image?image=cow/01.png&head=h")).await;
    until("the masks", async || {
        browser.text("#why").await.contains("8 masks, 0 labelled")
    })
    .await;
    browser.drag(&["#photo"]).await;
    until("a mask is chosen", async || {
        browser.text("#why").await.contains("480 pixels")
    })
    .await;
    browser.press(&['2']).await;
    browser.saved(1).await;
    let labelled = made.sql("SELECT label, queue FROM mask_labels");
    assert_eq!(
        (&labelled[0]["label"], &labelled[0]["queue"]),
        (&json!("cow"), &json!("image"))
    );
    browser.press(&['u']).await;
    browser.saved(0).await;
    assert_eq!(made.count("mask_labels WHERE verdict = 'undone'"), 1);

    // Classes: a word is dragged to another class, and a new version is saved.
    browser.go(&page.at("/classes?set=three")).await;
    until("the board", async || {
        browser.text("#board").await.contains("dog")
    })
    .await;
    browser.js("const columns = [...document.querySelectorAll('.column')]; const word = [...document.querySelectorAll('.word')].find((it) => it.innerText.startsWith('dog')); const data = new DataTransfer(); word.dispatchEvent(new DragEvent('dragstart', { dataTransfer: data, bubbles: true })); columns[1].dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }))").await;
    until("the change", async || {
        browser.text("#changes").await.contains("not saved yet")
    })
    .await;
    browser.js("document.querySelector('#save').click()").await;
    until("the version", async || {
        browser.text("#toasts").await.contains("version 2")
    })
    .await;
    let classes = made.sql("SELECT class, labels FROM class_sets WHERE class_set = 'three' AND version = 2 ORDER BY class_index");
    assert_eq!(
        classes,
        json!([{ "class": "cat", "labels": ["cat", "dog"] }, { "class": "cow", "labels": ["cow"] }])
    );

    // SQL: rows with thumbnails, and masks that go to the queue.
    browser
        .go(&page.at("/sql?sql=SELECT%20*%20FROM%20masks%20WHERE%20mask_index%20%3D%205"))
        .await;
    until("the rows", async || {
        browser.text("#told").await.contains("30 rows")
    })
    .await;
    let pictures = "return [...document.querySelectorAll('#rows img')].filter((it) => it.complete && it.naturalWidth > 0).length";
    until("the thumbnails", async || {
        browser.js(pictures).await.as_u64() > Some(3)
    })
    .await;
    browser
        .js("document.querySelector('#review').click()")
        .await;
    browser.painted(0).await;
    assert!(browser.text("#why").await.contains("mask 5"));

    // Heads, and every view on a narrow screen, without anything beyond its edge.
    browser.go(&page.at("/heads")).await;
    until("the head", async || {
        browser.text("#heads").await.contains("three@1")
    })
    .await;
    browser.call("/window/rect", &json!({ "width": 500, "height": 900 }));
    for view in ["queue", "grid", "image", "classes", "heads", "sql"] {
        browser.go(&page.at(&format!("/{view}"))).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let beyond = browser.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(beyond, 0, "{view}");
        browser.is_quiet().await;
    }
    page.end();
}
