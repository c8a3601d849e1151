//! Answers, compressed as the client accepts it.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use std::io::{self, Write};

/// Shorter answers are not worth it.
const BYTES_MIN: u64 = 1024;
/// Longer answers are compressed on a thread that may block.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// zstd at level 1.
    Zstd,
    /// gzip at its fastest.
    Gzip,
}

impl Coding {
    /// Its name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// The best coding that `Accept-Encoding` allows, if any.
pub fn accepted(headers: &HeaderMap) -> Option<Coding> {
    let mut best: Option<(u16, Coding)> = None;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0_f32), |q| q.parse().ok());
            // In thousandths, so that it can be ordered.
            let quality = (quality.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u16;
            let coding = match name.to_ascii_lowercase().as_str() {
                "zstd" => Coding::Zstd,
                "gzip" | "x-gzip" | "*" => Coding::Gzip,
                _ => continue,
            };
            let better = best.is_none_or(|(other, kept)| {
                quality > other || (quality == other && coding == Coding::Zstd && kept == Coding::Gzip)
            });
            if quality > 0 && better {
                best = Some((quality, coding));
            }
        }
    }
    best.map(|(_, coding)| coding)
}

/// Compresses an answer whose length is known, if that pays.
pub async fn whole(coding: Coding, response: Response) -> Response {
    let is_long = response.body().size_hint().exact().is_some_and(|len| len >= BYTES_MIN);
    if !is_long || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is in memory already: it has an exact length.
    let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Response::from_parts(parts, Body::empty());
    };
    let compressed = if bytes.len() <= INLINE_BYTES_MAX {
        compress(coding, &bytes)
    } else {
        let bytes = bytes.clone();
        tokio::task::spawn_blocking(move || compress(coding, &bytes))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    };
    match compressed {
        Ok(compressed) if compressed.len() < bytes.len() => {
            mark(&mut parts.headers, coding);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(compressed))
        }
        _ => Response::from_parts(parts, Body::from(bytes)),
    }
}

/// Says in the headers how an answer is compressed.
pub fn mark(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
}

fn compress(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Some(coding), Vec::with_capacity(bytes.len() / 4))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Writes compressed, or plain if there is no coding.
pub enum Encoder<W: Write> {
    /// As it is.
    Plain(W),
    /// zstd.
    Zstd(zstd::stream::write::Encoder<'static, W>),
    /// gzip.
    Gzip(flate2::write::GzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// An encoder that writes to `out`.
    pub fn new(coding: Option<Coding>, out: W) -> io::Result<Self> {
        Ok(match coding {
            None => Self::Plain(out),
            Some(Coding::Zstd) => Self::Zstd(zstd::stream::write::Encoder::new(out, 1)?),
            Some(Coding::Gzip) => Self::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::fast())),
        })
    }

    /// Writes the end.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> Option<Coding> {
        accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, text.parse().unwrap())]))
    }

    #[test]
    fn the_client_chooses_the_coding() {
        assert_eq!(accepted(&HeaderMap::new()), None);
        assert_eq!(accepts("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepts("gzip, deflate"), Some(Coding::Gzip));
        assert_eq!(accepts("zstd;q=0.1, gzip;q=0.5"), Some(Coding::Gzip));
        assert_eq!(accepts("zstd;q=0"), None);
        assert_eq!(accepts("identity"), None);
        assert_eq!(accepts("gzip;q=x"), None);
    }

    #[test]
    fn what_is_written_comes_back() {
        let text = b"line\n".repeat(1000);
        assert_eq!(zstd::decode_all(&compress(Coding::Zstd, &text).unwrap()[..]).unwrap(), text);
        let mut back = Vec::new();
        let gzip = compress(Coding::Gzip, &text).unwrap();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut back).unwrap();
        assert_eq!(back, text);
    }
}
