//! Users and passwords of registries, from a file like Docker's `config.json`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// What a registry is asked with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// User.
    pub(crate) user: String,
    /// Password or access token.
    pub(crate) password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Users and passwords, by registry. Shared by both container runtimes of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryCredentials {
    by_registry: BTreeMap<String, Credential>,
}

/// Why a file of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("registry credentials {} cannot be read", .path.display())]
    Read {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not such a file.
    #[error("registry credentials {} are not a file like Docker's config.json", .path.display())]
    Parse {
        /// Of the file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// One entry cannot be understood.
    #[error(
        "registry credentials {} have no usable `auth` for `{registry}`: base64 of `user:password` \
         is wanted, or `username` and `password`",
        .path.display()
    )]
    Entry {
        /// Of the file.
        path: PathBuf,
        /// As in the file.
        registry: String,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

impl RegistryCredentials {
    /// Reads `path`; without one there are none.
    ///
    /// # Errors
    /// When the file is there for nothing: unreadable, no JSON, an entry without a password.
    pub fn load(path: Option<&Path>) -> Result<RegistryCredentials, CredentialsError> {
        let Some(path) = path else {
            return Ok(RegistryCredentials::default());
        };
        let text = std::fs::read(path).map_err(|source| CredentialsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file: File =
            serde_json::from_slice(&text).map_err(|source| CredentialsError::Parse {
                path: path.to_owned(),
                source,
            })?;
        if let Some(store) = file.creds_store {
            tracing::warn!(
                path = %path.display(),
                store,
                "credential stores are not asked; only the passwords in the file are used"
            );
        }
        let mut by_registry = BTreeMap::new();
        for (registry, entry) in file.auths {
            let Some(credential) = credential(&entry) else {
                // `docker login` with a credential store leaves empty entries.
                if entry.is_empty() {
                    continue;
                }
                return Err(CredentialsError::Entry {
                    path: path.to_owned(),
                    registry,
                });
            };
            by_registry.insert(host_of(&registry), credential);
        }
        Ok(RegistryCredentials { by_registry })
    }

    /// For `host[:port]`.
    pub(crate) fn of(&self, registry: &str) -> Option<&Credential> {
        self.by_registry.get(registry)
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.auth.as_deref().unwrap_or_default().is_empty()
            && self.username.is_none()
            && self.password.is_none()
    }
}

fn credential(entry: &Entry) -> Option<Credential> {
    if let (Some(user), Some(password)) = (&entry.username, &entry.password) {
        return Some(Credential {
            user: user.clone(),
            password: password.clone(),
        });
    }
    let bytes = STANDARD.decode(entry.auth.as_deref()?.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads with NUL.
    let password = password.trim_end_matches('\0');
    Some(Credential {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

/// Keys of the file are hosts or URLs; Docker Hub has one of its own.
fn host_of(key: &str) -> String {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let host = key.split('/').next().unwrap_or(key);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<RegistryCredentials, CredentialsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        RegistryCredentials::load(Some(&path))
    }

    #[test]
    fn both_ways_of_writing_are_read() {
        let auth = STANDARD.encode("fleet:p:a+/~ü");
        let text = format!(
            r#"{{"auths":{{
                "r.example:5000": {{"auth": "{auth}"}},
                "https://index.docker.io/v1/": {{"username": "me", "password": "pw"}},
                "stored.example": {{}}
            }}, "HttpHeaders": {{}}}}"#
        );
        let credentials = load(&text).unwrap();
        assert_eq!(
            credentials.of("r.example:5000").unwrap().password,
            "p:a+/~ü"
        );
        assert_eq!(credentials.of("docker.io").unwrap().user, "me");
        assert!(
            credentials.of("stored.example").is_none() && credentials.of("r.example").is_none()
        );
        assert!(!format!("{credentials:?}").contains("pw"));
    }

    #[test]
    fn without_a_file_there_are_none_and_a_broken_one_is_an_error() {
        assert_eq!(
            RegistryCredentials::load(None).unwrap(),
            RegistryCredentials::default()
        );
        assert!(matches!(
            load("nonsense"),
            Err(CredentialsError::Parse { .. })
        ));
        let entry = load(r#"{"auths":{"r.example":{"auth":"!!"}}}"#).unwrap_err();
        assert!(entry.to_string().contains("r.example"), "{entry}");
        assert!(matches!(
            RegistryCredentials::load(Some(Path::new("/nonexistent/config.json"))),
            Err(CredentialsError::Read { .. })
        ));
    }
}
