//! The dashboard's files: those of `src/http/dashboard/`, embedded in the binary.
//!
//! `index.html` is at `/`, all of them are below `/assets/`. They need no token, and have nothing to
//! hide; what they show they ask the API for. A file that is no part of a page, such as the types
//! that a developer's check reads, is not served.
//!
//! Who works on them has them served from a directory instead (`--dashboard-dir`), and needs to build
//! nothing. In the binary they are without comments and indentation, and packed (`src/build.rs`): a
//! browser gets them so, and who does not take gzip gets them unpacked.

use super::problem::{ApiError, not_found};
use crate::{controller::Controller, identity::sha256_hex};
use axum::{
    body::{Body, Bytes},
    extract::{Path as Part, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;
use include_dir::{Dir, include_dir};
use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::{Arc, LazyLock},
};

static EMBEDDED: Dir<'static> = include_dir!("$OUT_DIR/dashboard");
static FILES: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(embedded);

/// Bytes of a file in a developer's directory.
const MAX_FILE: u64 = 4 << 20;
/// Nothing is loaded from elsewhere, nothing inline is run, and no page of others holds this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A file as it is served.
#[derive(Debug, Clone)]
struct Asset {
    kind: &'static str,
    etag: String,
    bytes: Bytes,
    /// They are in the form of gzip.
    packed: bool,
}

impl Asset {
    fn new(kind: &'static str, bytes: Bytes, packed: bool) -> Asset {
        let digest = sha256_hex(&bytes);
        let etag = format!("\"{}\"", digest.get(..32).unwrap_or(&digest));
        Asset {
            kind,
            etag,
            bytes,
            packed,
        }
    }

    /// As a developer wrote it, or nearly so.
    fn plain(&self) -> Bytes {
        if !self.packed {
            return self.bytes.clone();
        }
        let mut plain = Vec::new();
        let mut unpacking = GzDecoder::new(&self.bytes[..]).take(MAX_FILE);
        // It is a part of this program, and was packed by `src/build.rs`.
        let _ = unpacking.read_to_end(&mut plain);
        plain.into()
    }

    /// The answer to who may have it already.
    fn answer(&self, asked: &HeaderMap) -> Response {
        let has = asked.get_all(header::IF_NONE_MATCH).iter();
        let same = has
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag == self.etag);
        let mut response = match same {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => {
                let kind = [(header::CONTENT_TYPE, self.kind)];
                let as_it_is = self.packed && takes_gzip(asked);
                let body = match as_it_is {
                    true => self.bytes.clone(),
                    false => self.plain(),
                };
                let mut response = (kind, Body::from(body)).into_response();
                if as_it_is {
                    let gzip = HeaderValue::from_static("gzip");
                    response
                        .headers_mut()
                        .insert(header::CONTENT_ENCODING, gzip);
                }
                response
            }
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// Whether who asks takes gzip: it is named (or anything is), and not with a weight of 0.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
            ["gzip", "*"].contains(&name.trim()) && weight.parse() != Ok(0.0_f32)
        })
}

/// Content type of what is part of a page; `None`: it is not served.
fn kind_of(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        _ => return None,
    })
}

/// Everything that is embedded and served, by path.
fn embedded() -> BTreeMap<&'static str, Asset> {
    let mut files = BTreeMap::new();
    let mut open = vec![&EMBEDDED];
    while let Some(dir) = open.pop() {
        open.extend(dir.dirs());
        for file in dir.files() {
            if let Some(path) = file.path().to_str()
                && let Some(kind) = kind_of(path)
            {
                files.insert(
                    path,
                    Asset::new(kind, Bytes::from_static(file.contents()), true),
                );
            }
        }
    }
    files
}

/// The file with this path, from `dir` where there is one.
async fn find(dir: Option<&Path>, path: &str) -> Option<Asset> {
    match dir {
        None => FILES.get(path).cloned(),
        Some(dir) => read(dir, path).await,
    }
}

/// A file of a developer's directory. Names that lead out of it, and links that do, find nothing.
async fn read(dir: &Path, path: &str) -> Option<Asset> {
    let kind = kind_of(path)?;
    let name =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if !path.split('/').all(name) {
        return None;
    }
    let dir = tokio::fs::canonicalize(dir).await.ok()?;
    let file = tokio::fs::canonicalize(dir.join(path)).await.ok()?;
    if !file.starts_with(&dir) {
        return None;
    }
    let facts = tokio::fs::metadata(&file).await.ok()?;
    if !facts.is_file() || facts.len() > MAX_FILE {
        return None;
    }
    let bytes = tokio::fs::read(&file).await.ok()?;
    Some(Asset::new(kind, bytes.into(), false))
}

async fn serve(
    c: &Controller,
    path: &str,
    uri: Uri,
    asked: &HeaderMap,
) -> Result<Response, ApiError> {
    match find(c.dashboard_dir.as_deref(), path).await {
        Some(asset) => Ok(asset.answer(asked)),
        None => Err(not_found(uri).await),
    }
}

/// `/`.
pub(super) async fn front_page(
    State(c): State<Arc<Controller>>,
    uri: Uri,
    asked: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&c, "index.html", uri, &asked).await
}

/// `/assets/…`.
pub(super) async fn asset(
    State(c): State<Arc<Controller>>,
    Part(path): Part<String>,
    uri: Uri,
    asked: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&c, &path, uri, &asked).await
}

/// What `src/build.rs` does with them.
#[cfg(test)]
#[path = "strip.rs"]
mod strip;

#[cfg(test)]
mod tests {
    use super::{strip::stripped, *};
    use axum::{Router, extract::Request, http::Method, routing::get};
    use std::path::PathBuf;
    use tower_service::Service;

    /// As the router serves them, without a controller.
    async fn ask(dir: Option<PathBuf>, method: Method, path: &str, etag: &str) -> Response {
        let at = |dir: Option<PathBuf>, path: String, asked: HeaderMap| async move {
            let found = find(dir.as_deref(), &path).await;
            found.map_or_else(
                || StatusCode::NOT_FOUND.into_response(),
                |asset| asset.answer(&asked),
            )
        };
        let front = dir.clone();
        let mut app: Router = Router::new()
            .route(
                "/",
                get(move |asked| at(front, "index.html".to_owned(), asked)),
            )
            .route(
                "/assets/{*path}",
                get(move |Part(path): Part<String>, asked| at(dir, path, asked)),
            );
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::IF_NONE_MATCH, etag)
            .body(Body::empty())
            .unwrap();
        app.call(request).await.unwrap()
    }

    async fn get_from(dir: Option<PathBuf>, path: &str) -> (StatusCode, Bytes) {
        let answer = ask(dir, Method::GET, path, "\"none\"").await;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
        (status, body.unwrap())
    }

    fn header_of<'a>(answer: &'a Response, name: &header::HeaderName) -> &'a str {
        let value = answer.headers().get(name);
        value.map_or("", |v| v.to_str().unwrap())
    }

    #[test]
    fn all_that_is_served_is_small() {
        let sizes = FILES.iter().map(|(path, a)| (a.plain().len(), *path));
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort_unstable();
        let sum: usize = sizes.iter().map(|(size, _)| size).sum();
        assert!(sum <= 150_000, "{sum} bytes: {sizes:?}");
        assert!(FILES.contains_key("index.html"));
    }

    /// Also finds what was built before a file was changed.
    #[test]
    fn what_is_served_is_what_developers_wrote() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/dashboard");
        let mut without = 0;
        for (path, asset) in FILES.iter() {
            let written = std::fs::read_to_string(from.join(path)).unwrap();
            let text = stripped(path, &written).unwrap();
            assert_eq!(asset.plain(), text.as_bytes(), "{path}");
            without += usize::from(text.len() < written.len());
        }
        assert!(without > FILES.len() / 2, "{without} had comments");
    }

    #[test]
    fn only_what_developers_read_is_taken_out() {
        for (path, text, kept) in [
            (
                "a.js",
                "/**\n * What it is.\n */\n\nlet a = 1;\n",
                "let a = 1;\n",
            ),
            (
                "a.js",
                "\t// why\n\ta(); // stays\n// last",
                "a(); // stays\n",
            ),
            ("a.js", "/* a */ b();\n(/** @type {T} */ c);\n", ""),
            ("a.js", "{\n\ta(\n\n\t\tb);  \n}", "{\na(\nb);  \n}"),
            (
                "a.js",
                "let a = \"\\\"\"; let b = '/*';\n// gone\nb = \"*/\";\n",
                "let a = \"\\\"\"; let b = '/*';\nb = \"*/\";\n",
            ),
            ("a.js", "let a = 'b\\\n  c';\n", ""),
            ("a.js", "let a = `\n// text\n\n  /* text */\n`;\n", ""),
            (
                "a.js",
                "let a = `${b(`\n // text ${{c: 1}.c}\n`)}\n\t// text\n`;\n// gone\n",
                "let a = `${b(`\n // text ${{c: 1}.c}\n`)}\n\t// text\n`;\n",
            ),
            (
                "a.js",
                "let a = `${\n// gone\n b}\n // text`;\n",
                "let a = `${\nb}\n // text`;\n",
            ),
            (
                "a.js",
                "a = /[/`'\"]*\\//g;\n// gone\nb = c / 2 / d;\n// gone\n",
                "a = /[/`'\"]*\\//g;\nb = c / 2 / d;\n",
            ),
            ("a.js", "if (a) return /`/.test(b) ? c[0] / 2 : `/`;\n", ""),
            (
                "a.css",
                "/* one\n   two */\na {b: c} /* stays */\n// no comment\n",
                "a{b:c}/* stays */\n// no comment\n",
            ),
            (
                "a.css",
                "a :hover, b > c { --d: \"x : y; { , }\", e(1px , 2px); f: calc(1px - 2px) } g :is(h, i) {j: k}\n",
                "a :hover,b > c{--d:\"x : y; { , }\",e(1px,2px);f:calc(1px - 2px)}g :is(h,i){j:k}\n",
            ),
            (
                "a.css",
                "a {b: var(--c, )} /* d, e: f; */\n",
                "a{b:var(--c,)}/* d, e: f; */\n",
            ),
            (
                "a.js",
                "a(b, \"c, d\", `e, ${f(g, h)}, i`, /j, k/, {l: m}); // n, o\n",
                "a(b,\"c, d\",`e, ${f(g,h)}, i`,/j, k/,{l: m}); // n, o\n",
            ),
            ("a.html", "<!-- a -->\n // text\n", ""),
        ] {
            let wanted = if kept.is_empty() { text } else { kept };
            assert_eq!(stripped(path, text).as_deref(), Ok(wanted), "{text}");
        }
        for (text, line) in [
            ("a();\nb = 'c\n", 2),
            ("`${a`", 1),
            ("/* a", 1),
            ("a = /b\n/", 1),
        ] {
            assert_eq!(stripped("a.js", text), Err(line), "{text}");
        }
    }

    #[test]
    fn every_file_that_a_page_or_a_module_names_is_there() {
        let mut named = 0;
        for (path, asset) in FILES.iter() {
            let plain = asset.plain();
            let text = String::from_utf8_lossy(&plain);
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for quoted in text.split('"') {
                let target = match quoted.strip_prefix("/assets/") {
                    Some(target) => target.to_owned(),
                    None if path.ends_with(".js") && is_module(quoted) => joined(folder, quoted),
                    None => continue,
                };
                named += 1;
                assert!(FILES.contains_key(target.as_str()), "{path} names {target}");
            }
        }
        assert!(named > 3, "only {named} names were found");
    }

    fn is_module(text: &str) -> bool {
        (text.starts_with("./") || text.starts_with("../"))
            && text.ends_with(".js")
            && !text.contains(char::is_whitespace)
    }

    fn joined(folder: &str, relative: &str) -> String {
        let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
        for part in relative.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    #[tokio::test]
    async fn pages_are_served_with_headers_that_keep_others_out() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/assets/index.html", "text/html; charset=utf-8"),
            ("/assets/main.js", "text/javascript; charset=utf-8"),
            ("/assets/app.css", "text/css; charset=utf-8"),
            ("/assets/favicon.svg", "image/svg+xml"),
        ] {
            let answer = ask(None, Method::GET, path, "\"other\"").await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(header_of(&answer, &header::CONTENT_TYPE), kind);
            let policy = header_of(&answer, &header::CONTENT_SECURITY_POLICY);
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
            assert!(!policy.contains("unsafe"), "{policy}");
            for (name, value) in [
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::CACHE_CONTROL, "no-cache"),
            ] {
                assert_eq!(header_of(&answer, &name), value, "{path}");
            }
        }
    }

    #[test]
    fn who_takes_gzip_gets_it_packed_and_nobody_else() {
        let asset = &FILES["main.js"];
        let ask = |accepted: &'static str| {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            asset.answer(&asked)
        };
        for accepted in ["gzip", "br, gzip;q=0.5", "*"] {
            let answer = ask(accepted);
            assert_eq!(header_of(&answer, &header::CONTENT_ENCODING), "gzip");
            assert_eq!(header_of(&answer, &header::VARY), "accept-encoding");
        }
        for accepted in ["", "br", "gzip;q=0", "identity"] {
            let answer = ask(accepted);
            assert_eq!(
                header_of(&answer, &header::CONTENT_ENCODING),
                "",
                "{accepted}"
            );
        }
        assert!(asset.bytes.len() < asset.plain().len() / 2);
    }

    #[tokio::test]
    async fn who_has_a_file_already_is_told_so() {
        let first = ask(None, Method::GET, "/", "\"other\"").await;
        let etag = header_of(&first, &header::ETAG).to_owned();
        assert!(etag.len() == 34 && etag.starts_with('"'), "{etag}");
        for asked in [etag.clone(), format!("\"a\", W/{etag}"), "*".into()] {
            let again = ask(None, Method::GET, "/", &asked).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{asked}");
            assert_eq!(header_of(&again, &header::ETAG), etag);
            let body = axum::body::to_bytes(again.into_body(), 1 << 20).await;
            assert!(body.unwrap().is_empty());
        }
        let head = ask(None, Method::HEAD, "/", "\"other\"").await;
        assert_eq!(head.status(), StatusCode::OK);
        let length = FILES["index.html"].plain().len().to_string();
        assert_eq!(header_of(&head, &header::CONTENT_LENGTH), length);
        let body = axum::body::to_bytes(head.into_body(), 1 << 20).await;
        assert!(body.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_developers_directory_is_served_as_it_is_and_nothing_outside_of_it() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("dashboard");
        std::fs::create_dir_all(dir.join("pages")).unwrap();
        std::fs::create_dir(dir.join(".git")).unwrap();
        std::fs::write(outside.path().join("secret.js"), "secret").unwrap();
        for file in [
            "index.html",
            "pages/a.js",
            "jsconfig.json",
            "types.d.ts",
            ".git/a.js",
        ] {
            std::fs::write(dir.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("../secret.js", dir.join("linked.js")).unwrap();
        let get = |path: &'static str| get_from(Some(dir.clone()), path);
        assert_eq!(get("/").await.1, "index.html");
        assert_eq!(get("/assets/pages/a.js").await.1, "pages/a.js");
        std::fs::write(dir.join("index.html"), "changed").unwrap();
        assert_eq!(get("/").await.1, "changed");
        for path in [
            "/assets/../secret.js",
            "/assets/%2e%2e/secret.js",
            "/assets/..%2fsecret.js",
            "/assets/pages/../../secret.js",
            "/assets/pages/..%5c..%5csecret.js",
            "/assets//etc/passwd",
            "/assets/%00.js",
            "/assets/linked.js",
            "/assets/.git/a.js",
            "/assets/jsconfig.json",
            "/assets/types.d.ts",
            "/assets/pages",
            "/assets/missing.js",
        ] {
            let (status, body) = get(path).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_part_of_a_page_is_not_served() {
        for path in [
            "/assets/jsconfig.json",
            "/assets/types.d.ts",
            "/assets/../mod.rs",
        ] {
            assert_eq!(
                get_from(None, path).await.0,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}
