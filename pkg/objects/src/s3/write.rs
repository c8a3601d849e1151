//! Requests that change: puts, conditional puts, deletes.

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, Delete, ObjectIdentifier, ServerSideEncryption, StorageClass};
use bytes::Bytes;

use super::Bucket;
use super::failure::{Failure, Why, of_answer};
use super::requests::{Before, Kind};
use crate::options::Encryption;

/// Keys of one request that deletes.
pub(super) const DELETE_KEYS_MAX: usize = 1000;

/// A CRC32C as S3 writes it.
pub(super) fn checksum_text(crc: u32) -> String {
    aws_smithy_types::base64::encode(crc.to_be_bytes())
}

impl Bucket {
    /// What says how objects are kept: class and encryption with its key.
    pub fn kept(&self) -> (Option<StorageClass>, Option<ServerSideEncryption>, Option<String>) {
        let class = self.options.storage_class.as_deref().map(StorageClass::from);
        match &self.options.encryption {
            Encryption::Bucket => (class, None, None),
            Encryption::S3 => (class, Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms { key_id } => (class, Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }

    fn put_request(&self, key: &str, body: &Bytes, crc: u32) -> PutObjectFluentBuilder {
        let (class, encryption, kms_key) = self.kept();
        self.client
            .put_object()
            .bucket(&self.name)
            .key(self.full(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .checksum_crc32_c(checksum_text(crc))
            .set_storage_class(class)
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .body(ByteStream::from(body.clone()))
    }

    /// Stores bytes.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), Failure> {
        let crc = crc32c::crc32c(&body);
        let attempt = |_| {
            self.requests.in_time(body.len() as u64, async {
                self.put_request(key, &body, crc).send().await?;
                Ok(())
            })
        };
        self.requests.run(Kind::Put, attempt).await?;
        self.requests.count_put(body.len() as u64);
        Ok(())
    }

    /// Stores bytes unless the key exists; says whether it did. When an answer was lost, the object
    /// is read: equal bytes are ours.
    pub async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<bool, Failure> {
        let crc = crc32c::crc32c(&body);
        let attempt = |before| {
            let request = self.put_request(key, &body, crc).if_none_match("*");
            let sent = self.requests.in_time(body.len() as u64, async {
                request.send().await?;
                Ok(true)
            });
            async move {
                match sent.await {
                    Err(failure) if failure.why == Why::Exists && before == Before::Nothing => Ok(Ended::Exists),
                    Err(failure) if failure.why == Why::Exists => Ok(Ended::InDoubt),
                    Err(failure) => Err(failure),
                    Ok(_) => Ok(Ended::Stored),
                }
            }
        };
        let is_ours = match self.requests.run(Kind::Put, attempt).await {
            Ok(Ended::Stored) => true,
            Ok(Ended::Exists) => false,
            Ok(Ended::InDoubt) => self.get(key, None).await? == body,
            // Every answer was lost. If nothing can be read either, the first failure says why.
            Err(failure) if failure.is_in_doubt() => match self.get(key, None).await {
                Ok(present) => present == body,
                Err(_) => return Err(failure),
            },
            Err(failure) => return Err(failure),
        };
        if is_ours {
            self.requests.count_put(body.len() as u64);
        }
        Ok(is_ours)
    }

    /// Deletes objects, at most [`DELETE_KEYS_MAX`] of them.
    pub async fn delete(&self, keys: &[String]) -> Result<(), Failure> {
        if let [key] = keys {
            return self.delete_one(key).await;
        }
        let attempt = |_| self.requests.in_time(0, self.try_delete(keys));
        match self.requests.run(Kind::Delete, attempt).await {
            // Not all stores delete many at once.
            Err(failure) if failure.why == Why::Unsupported => {
                for key in keys {
                    self.delete_one(key).await?;
                }
                Ok(())
            }
            other => other,
        }
    }

    async fn delete_one(&self, key: &str) -> Result<(), Failure> {
        let attempt = |_| {
            self.requests.in_time(0, async {
                match self.client.delete_object().bucket(&self.name).key(self.full(key)).send().await {
                    Ok(_) => Ok(()),
                    Err(error) => match Failure::from(error) {
                        gone if gone.why == Why::NotFound => Ok(()),
                        failure => Err(failure),
                    },
                }
            })
        };
        self.requests.run(Kind::Delete, attempt).await
    }

    async fn try_delete(&self, keys: &[String]) -> Result<(), Failure> {
        let refused = |error: &dyn std::fmt::Display| Failure::new(Why::Refused, error.to_string());
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            objects.push(ObjectIdentifier::builder().key(self.full(key)).build().map_err(|error| refused(&error))?);
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete = delete.map_err(|error| refused(&error))?;
        let answer = self.client.delete_objects().bucket(&self.name).delete(delete).send().await?;
        for error in answer.errors() {
            // Their status is not said; a code that is not known counts as a failure that may pass.
            let failure = of_answer(500, error.code(), error.message(), None);
            if failure.why != Why::NotFound {
                let key = error.key().unwrap_or("").escape_debug();
                return Err(Failure::new(failure.why, format!("`{key}`: {}", failure.message)));
            }
        }
        Ok(())
    }
}

/// How a conditional put ended.
enum Ended {
    Stored,
    Exists,
    /// It exists, and an earlier try may have stored it.
    InDoubt,
}
