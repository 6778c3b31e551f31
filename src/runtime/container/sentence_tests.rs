//! The engines' real words and what people read instead.

use super::*;

const ABOUT: About<'static> = About {
    kind: RuntimeKind::Docker,
    handle: "abc",
    image: "x:1",
    program: Some("/bin/asked"),
};

fn explained(status: u16, text: &str) -> RuntimeError {
    explain(
        &Fault::Said {
            status,
            text: text.to_owned(),
        },
        &ABOUT,
    )
}

#[test]
fn a_missing_command_is_refused() {
    for text in [
        // Docker 20.10
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to \
         start container process: exec: \"/bin/nope\": stat /bin/nope: no such file or \
         directory: unknown",
        // Docker 26
        "failed to create task for container: failed to create shim task: OCI runtime create \
         failed: runc create failed: unable to start container process: exec: \"/bin/nope\": \
         stat /bin/nope: no such file or directory: unknown",
        // Podman 4.3 with runc
        "runc: runc create failed: unable to start container process: exec: \"/bin/nope\": stat \
         /bin/nope: no such file or directory: OCI runtime attempted to invoke a command that \
         was not found",
        // Podman 5.4 with crun
        "crun: executable file `/bin/nope` not found: No such file or directory: OCI runtime \
         attempted to invoke a command that was not found",
    ] {
        assert_eq!(
            explained(400, text),
            RuntimeError::Refused("`/bin/nope` was not found in image `x:1`".to_owned()),
            "{text}"
        );
    }
    let in_path = "runc create failed: unable to start container process: exec: \"nope\": \
                   executable file not found in $PATH: unknown";
    assert_eq!(
        explained(400, in_path),
        RuntimeError::Refused("`nope` was not found in image `x:1`".to_owned())
    );
}

#[test]
fn a_taken_port_is_named_and_may_pass() {
    for text in [
        "driver failed programming external connectivity on endpoint t3 (124b): listen tcp4 \
         0.0.0.0:8080: bind: address already in use",
        "driver failed programming external connectivity on endpoint ppb (cc44): Bind for \
         0.0.0.0:8080 failed: port is already allocated",
        "cannot listen on the TCP port: listen tcp4 :8080: bind: address already in use",
        "rootlessport listen tcp [::]:8080: bind: address already in use",
    ] {
        assert_eq!(
            explained(500, text),
            RuntimeError::Failed("port 8080 is already taken on this node".to_owned()),
            "{text}"
        );
    }
    assert!(matches!(
        explained(500, "netavark: address already in use (os error 98)"),
        RuntimeError::Failed(sentence) if sentence.starts_with("a port")
    ));
}

#[test]
fn what_the_workload_asks_for_in_vain_is_named() {
    let cases = [
        (400, "No command specified", "has no command of its own"),
        (
            500,
            "container create: no command or entrypoint provided, and no CMD or ENTRYPOINT from \
             image",
            "has no command of its own",
        ),
        (
            500,
            "unable to find user nobodyx: no matching entries in passwd file",
            "user `nobodyx`",
        ),
        (
            404,
            "network nonet not found",
            "network `nonet` does not exist",
        ),
        (
            500,
            "container create: unable to find network with name or ID nonet: network not found",
            "network `nonet` does not exist",
        ),
        (
            400,
            "invalid reference format: repository name must be lowercase",
            "is not the name of an image",
        ),
        (
            500,
            "normalizing image: normalizing name for compat API: repository name must be lowercase",
            "is not the name of an image",
        ),
        (
            400,
            "failed to create shim task: OCI runtime create failed: runc create failed: unable \
             to start container process: exec: \"/etc/passwd\": permission denied: unknown",
            "`/etc/passwd` in image `x:1` is not a program",
        ),
        (
            500,
            "runc: exec /bin/app: exec format error: OCI runtime error",
            "another processor",
        ),
        (
            400,
            "the working directory 'rel' is invalid, it needs to be an absolute path",
            "'rel'",
        ),
    ];
    for (status, text, part) in cases {
        match explained(status, text) {
            RuntimeError::Refused(sentence) => assert!(sentence.contains(part), "{sentence}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_may_come_back_is_a_failure_not_a_refusal() {
    let cases = [
        (
            500,
            "error gathering device information while adding custom device \"/dev/nope\": no such \
             file or directory",
            "`/dev/nope` does not exist",
        ),
        (
            500,
            "container create: stat /dev/nope: no such file or directory",
            "`/dev/nope` does not exist",
        ),
        (
            400,
            "invalid mount config for type \"bind\": bind source path does not exist: /mnt/z",
            "`/mnt/z` does not exist",
        ),
        (
            500,
            "mkdir /var/lib/docker/x: no space left on device",
            "no space left on the node",
        ),
        (500, "something new", "docker failed: something new"),
    ];
    for (status, text, part) in cases {
        match explained(status, text) {
            RuntimeError::Failed(sentence) => assert!(sentence.contains(part), "{sentence}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_missing_container_and_a_silent_engine_have_their_own_errors() {
    assert_eq!(
        explained(404, "No such container: abc"),
        RuntimeError::NotFound("abc".to_owned())
    );
    let silent = explain(&Fault::Unreachable("it hangs".to_owned()), &ABOUT);
    assert_eq!(silent.to_string(), "docker cannot be reached: it hangs");
}

fn pulled(text: &str, with_credentials: bool) -> String {
    let reference = Reference::parse("r.example:5000/fleet/x:1").unwrap();
    match explain_pull(
        &Fault::said(text),
        RuntimeKind::Podman,
        &reference,
        with_credentials,
    ) {
        RuntimeError::Image(sentence) => sentence,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn registries_answers_are_told_apart() {
    for text in [
        "manifest for r.example:5000/fleet/x:1 not found: manifest unknown: manifest unknown",
        "initializing source docker://r.example:5000/fleet/x:1: reading manifest 1 in \
         r.example:5000/fleet/x: manifest unknown: manifest unknown",
        "reading manifest 1 in r.example:5000/fleet/x: name unknown: repository name not known to \
         registry",
    ] {
        assert_eq!(
            pulled(text, true),
            "image `r.example:5000/fleet/x:1` does not exist in its registry",
            "{text}"
        );
    }
    for text in [
        "unauthorized: authentication required",
        "Head \"http://r.example:5000/v2/fleet/x/manifests/1\": no basic auth credentials",
        "initializing source docker://r.example:5000/fleet/x:1: reading manifest 1 in \
         r.example:5000/fleet/x: unauthorized: authentication required",
    ] {
        assert_eq!(
            pulled(text, true),
            "registry `r.example:5000` refused the credentials for `r.example:5000/fleet/x:1`",
            "{text}"
        );
        assert!(pulled(text, false).contains("this node has none"), "{text}");
    }
    for text in [
        "Get \"http://r.example:5000/v2/\": dial tcp 192.0.2.1:5000: connect: connection refused",
        "Get \"https://r.example/v2/\": dial tcp: lookup r.example on 192.0.2.53:53: no such host",
        "pinging container registry r.example: Get \"https://r.example/v2/\": net/http: TLS \
         handshake timeout",
    ] {
        let sentence = pulled(text, false);
        assert!(
            sentence.starts_with("registry `r.example:5000` cannot be reached: "),
            "{sentence}"
        );
        assert!(!sentence.contains("https://"), "{sentence}");
    }
    assert!(
        pulled("http: server gave HTTP response to HTTPS client", false).contains("plain HTTP")
    );
    assert!(
        pulled(
            "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority",
            false
        )
        .contains("cannot be trusted: x509")
    );
    assert!(
        pulled(
            "no matching manifest for linux/arm/v6 in the manifest list entries",
            false
        )
        .contains("processor")
    );
}

#[test]
fn unknown_words_are_bounded_and_of_one_line() {
    let text = format!("first\nsecond {}", "y".repeat(1000));
    let short = shortened(&text);
    assert!(short.starts_with("first second"));
    assert_eq!(short.chars().count(), 300);
}
