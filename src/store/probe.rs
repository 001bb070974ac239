//! Whether a bucket creates an object only where there is none, for one of several writers at once.
//!
//! A commit of a store is such a creation. Some servers look first and write afterwards, or ignore the condition; there, two
//! writers can both be told that they committed, and one of the commits is lost. Asking once shows nothing, so writers race.

use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::{Error, Result};

/// Folder of the probe's objects within the store.
pub(super) const FOLDER: &str = ".probe";

const RACES: usize = 16;
const WRITERS: usize = 8;

/// Lets writers race for objects under `base`, and removes the objects again.
///
/// # Errors
/// [`Error::UnsafeBucket`] unless every race has one winner, whose bytes are read back; errors of the bucket.
pub(super) async fn check_create_if_absent(
    objects: &dyn ObjectStore,
    base: &Path,
    uri: &str,
) -> Result<()> {
    let nonce = format!("{:016x}", fastrand::u64(..));
    let folder = base.clone().join(FOLDER).join(nonce);
    let mut unsafe_because = None;
    for race in 0..RACES {
        let object = folder.clone().join(race.to_string());
        let found = race_for(objects, &object).await;
        // Nothing depends on these objects: what cannot be removed may stay.
        let _ = objects.delete(&object).await;
        unsafe_because = found?;
        if unsafe_because.is_some() {
            break;
        }
    }
    match unsafe_because {
        None => Ok(()),
        Some(reason) => Err(Error::UnsafeBucket {
            uri: uri.to_owned(),
            reason,
        }),
    }
}

/// One race; returns what went wrong.
async fn race_for(objects: &dyn ObjectStore, object: &Path) -> Result<Option<String>> {
    let options = || PutOptions::from(PutMode::Create);
    let puts = (0..WRITERS).map(|writer| {
        let content = PutPayload::from(writer.to_string().into_bytes());
        objects.put_opts(object, content, options())
    });
    let mut winners = Vec::new();
    for (writer, put) in join_all(puts).await.into_iter().enumerate() {
        match put {
            Ok(_) => winners.push(writer),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(object_store::Error::NotImplemented { .. }) => {
                return Ok(Some("it has no conditional writes".to_owned()));
            }
            Err(err) => return Err(lance::Error::from(err).into()),
        }
    }
    let [winner] = winners[..] else {
        return Ok(Some(format!(
            "{} of {WRITERS} writers at once were told that they created one object",
            winners.len()
        )));
    };
    let read = objects.get(object).await.map_err(lance::Error::from)?;
    let read = read.bytes().await.map_err(lance::Error::from)?;
    Ok((read != winner.to_string().as_bytes())
        .then(|| "a writer that was told that an object exists has replaced it".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
        PutMultipartOptions, PutResult, Result,
    };

    use super::*;

    /// How a server treats the condition that an object must be absent.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Condition {
        /// In one step with writing.
        Kept,
        /// It looks first, and writes a little later.
        Looked,
        /// It knows no conditions and writes.
        Ignored,
        /// It says that it has none.
        Refused,
        /// It says rightly who was first, and writes the bytes of the last.
        Overwritten,
    }

    #[derive(Debug)]
    struct Server {
        objects: InMemory,
        condition: Condition,
    }

    impl fmt::Display for Server {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:?}", self.condition)
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Server {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            options: PutOptions,
        ) -> Result<PutResult> {
            let exists = || object_store::Error::AlreadyExists {
                path: location.to_string(),
                source: "412".into(),
            };
            match self.condition {
                Condition::Kept => self.objects.put_opts(location, payload, options).await,
                Condition::Looked => {
                    if self.objects.head(location).await.is_ok() {
                        return Err(exists());
                    }
                    tokio::task::yield_now().await;
                    self.objects.put(location, payload).await
                }
                Condition::Ignored => self.objects.put(location, payload).await,
                Condition::Refused => Err(object_store::Error::NotImplemented {
                    operation: "put".to_owned(),
                    implementer: "Server".to_owned(),
                }),
                Condition::Overwritten => {
                    let is_first = self.objects.head(location).await.is_err();
                    let put = self.objects.put(location, payload).await?;
                    if is_first { Ok(put) } else { Err(exists()) }
                }
            }
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.objects.put_multipart_opts(location, options).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.objects.get_opts(location, options).await
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.objects.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.objects.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.objects.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.objects.copy_opts(from, to, options).await
        }
    }

    async fn probe(condition: Condition) -> crate::Result<()> {
        let server = Server {
            objects: InMemory::new(),
            condition,
        };
        let checked = check_create_if_absent(&server, &Path::from("store"), "s3://b/store").await;
        let left: Vec<_> = futures::TryStreamExt::try_collect(server.list(None))
            .await
            .unwrap();
        assert!(left.is_empty(), "{left:?}");
        checked
    }

    #[tokio::test]
    async fn a_bucket_where_one_of_many_writers_wins_is_taken() {
        probe(Condition::Kept).await.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_that_would_lose_commits_is_refused() {
        for (condition, reason) in [
            (Condition::Looked, "8 of 8 writers"),
            (Condition::Ignored, "8 of 8 writers"),
            (Condition::Refused, "no conditional writes"),
            (Condition::Overwritten, "has replaced it"),
        ] {
            let message = probe(condition).await.unwrap_err().to_string();
            assert!(
                message.contains(reason) && message.contains("s3://b/store"),
                "{condition:?}: {message}"
            );
        }
    }
}
