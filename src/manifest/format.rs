//! In which language a manifest is written: its file name says so, else the text does.

use super::span::Source;
use std::path::Path;

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// YAML: workloads, or a Compose file.
    Yaml,
}

impl Format {
    /// Of a text, by the ending of its name (`.toml`, `.yaml`, `.yml`); of one without such an
    /// ending, as standard input, by its first line that says something.
    pub fn of(source: &Source) -> Format {
        let ending = Path::new(&source.name)
            .extension()
            .map(|ending| ending.to_ascii_lowercase());
        match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("toml") => Format::Toml,
            Some("yaml" | "yml") => Format::Yaml,
            _ => guess(&source.text),
        }
    }

    /// A file with this name is a manifest, as when a directory is read.
    pub fn is_manifest(path: &Path) -> bool {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let ending = ending.as_ref().and_then(|ending| ending.to_str());
        matches!(ending, Some("toml" | "yaml" | "yml"))
    }
}

/// TOML begins with a header or a key and `=`; YAML with `---`, `{` or a key and `:`.
fn guess(text: &str) -> Format {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = line else {
        return Format::Toml;
    };
    if line.starts_with(['-', '{', '%', '&']) {
        return Format::Yaml;
    }
    let equals = line.find('=').unwrap_or(usize::MAX);
    let colon = line.find(": ").unwrap_or(usize::MAX);
    if !line.starts_with('[') && (colon < equals || (line.ends_with(':') && equals == usize::MAX)) {
        Format::Yaml
    } else {
        Format::Toml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_then_the_text() {
        for (name, text, format) in [
            ("a.toml", "services:", Format::Toml),
            ("b/a.YML", "[workload.a]", Format::Yaml),
            ("compose.yaml", "", Format::Yaml),
            ("standard input", "", Format::Toml),
            ("standard input", "# x\n\n[workload.a]\n", Format::Toml),
            ("standard input", "vars = { a = 'b: c' }\n", Format::Toml),
            ("standard input", "# x\nservices:\n", Format::Yaml),
            ("standard input", "\u{feff}name: web\n", Format::Yaml),
            ("standard input", "name: a=b\n", Format::Yaml),
            ("standard input", "---\nname: web\n", Format::Yaml),
            ("standard input", "{name: web}\n", Format::Yaml),
            ("t", "what is this", Format::Toml),
        ] {
            assert_eq!(
                Format::of(&Source::new(name, text)),
                format,
                "{name} {text}"
            );
        }
        assert!(Format::is_manifest(Path::new("a/b.yml")));
        assert!(!Format::is_manifest(Path::new("a/b.txt")));
    }
}
