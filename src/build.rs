//! Puts the dashboard's files where the binary takes them from, without the comments and the
//! indentation: those are for who works on the files, and `--dashboard-dir` serves them as they are.
//! Each is packed (gzip), as browsers take it. So is the description of the API.

#[path = "http/strip.rs"]
mod strip;

use flate2::{Compression, GzBuilder};
use std::{env, error::Error, fs, io::Write, path::Path};

const FROM: &str = "src/http/dashboard";
const OPENAPI: &str = "src/http/openapi/openapi.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/build.rs");
    println!("cargo:rerun-if-changed=src/http/strip.rs");
    println!("cargo:rerun-if-changed={FROM}");
    println!("cargo:rerun-if-changed={OPENAPI}");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("openapi.json.gz"), packed(&fs::read(OPENAPI)?)?)?;
    let to = out.join("dashboard");
    // A file that is gone must not stay.
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    copy(Path::new(FROM), &to)
}

fn copy(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target)?;
            continue;
        }
        let name = path.to_str().ok_or("a file's name is no text")?;
        if name.ends_with(".js") || name.ends_with(".css") {
            let text = strip::stripped(name, &fs::read_to_string(&path)?);
            let text = text.map_err(|line| {
                format!("{name}:{line}: a text, template or comment does not end here as it should")
            })?;
            fs::write(&target, packed(text.as_bytes())?)?;
        } else if !name.ends_with(".json") && !name.ends_with(".d.ts") {
            // What is neither is served as it is; a developer's checks are not served.
            fs::write(&target, packed(&fs::read(&path)?)?)?;
        }
    }
    Ok(())
}

/// Without a name or a time: the same file gives the same bytes.
fn packed(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut packing = GzBuilder::new().write(Vec::new(), Compression::best());
    packing.write_all(bytes)?;
    Ok(packing.finish()?)
}
