//! Mail, by a real SMTP server (Debian's `python3-aiosmtpd`) with STARTTLS and a login.

use super::super::harness::{Daemon, Port, wait_for};
use super::{certificate, firing, name, notifier, said, status, until};
use fleetctl::notify::{Kind, MailTls, Occasion, Receiver, Secret, Smtp};
use std::{fs, net::TcpStream, process::Command};
use tempfile::TempDir;

/// Keeps each mail as a file, with the envelope before it. Signs in `fleet` with `right`.
const SERVER: &str = r#"
import ssl, sys, os, itertools, threading
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, folder, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
count = itertools.count()

class Keep:
    async def handle_DATA(self, server, session, envelope):
        name = os.path.join(folder, "%d.eml" % next(count))
        # session.ssl is of STARTTLS only.
        secured = server.transport.get_extra_info("ssl_object") is not None
        head = "X-Envelope: %s %s %s\r\n" % (
            envelope.mail_from, ",".join(envelope.rcpt_tos), secured)
        with open(name + ".part", "wb") as f:
            f.write(head.encode() + envelope.content)
        os.rename(name + ".part", name)
        return "250 kept"

def sign_in(server, session, envelope, mechanism, data):
    with open(os.path.join(folder, "logins"), "a") as f:
        f.write("%s\n" % mechanism)
    right = data.login == b"fleet" and data.password == b"right-password"
    return AuthResult(success=right, handled=False)

options = {}
if mode != "none":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    options = dict(authenticator=sign_in, auth_required=True)
    if mode == "starttls":
        options.update(tls_context=context, require_starttls=True)
    else:
        options.update(ssl_context=context, auth_require_tls=False)
Controller(Keep(), hostname="127.0.0.1", port=port, **options).start()
threading.Event().wait()
"#;

/// aiosmtpd, on a port of a test's own.
struct MailServer {
    port: Port,
    folder: TempDir,
    _daemon: Daemon,
}

impl MailServer {
    fn start(tls: MailTls) -> MailServer {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let (cert, key) = certificate();
        fs::write(path("cert.pem"), cert).unwrap();
        fs::write(path("key.pem"), key).unwrap();
        fs::write(path("server.py"), SERVER).unwrap();
        let port = Port::take();
        // Debian's own: another Python on the PATH does not have the package.
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(path("server.py"))
            .arg(port.number().to_string())
            .arg(folder.path())
            .arg(tls.as_str());
        let daemon = Daemon::spawn("aiosmtpd", command, &path("server.log"));
        wait_for("aiosmtpd listens", || TcpStream::connect(port.local()).ok());
        MailServer {
            port,
            folder,
            _daemon: daemon,
        }
    }

    fn receiver(&self, tls: MailTls, password: &str) -> Receiver {
        let login = ("fleet".to_owned(), Secret::Value(password.to_owned()));
        let smtp = Smtp {
            host: "localhost".to_owned(),
            port: self.port.number(),
            tls,
            login: (tls != MailTls::None).then_some(login),
            from: "Fleet <fleet@example.org>".to_owned(),
            to: vec![
                "ops@example.org".to_owned(),
                "Jürgen <j@example.org>".to_owned(),
            ],
        };
        Receiver {
            kind: Kind::Smtp(smtp),
            timeout_ms: 10_000,
            ca: (tls != MailTls::None).then(|| self.folder.path().join("cert.pem")),
        }
    }

    fn mails(&self) -> Vec<String> {
        let read = |n: usize| fs::read_to_string(self.folder.path().join(format!("{n}.eml"))).ok();
        (0..).map_while(read).collect()
    }

    fn logins(&self) -> usize {
        let logins = fs::read_to_string(self.folder.path().join("logins"));
        logins.unwrap_or_default().lines().count()
    }
}

#[tokio::test]
async fn a_mail_arrives_whole_with_each_kind_of_protection() {
    for tls in [MailTls::Starttls, MailTls::Implicit, MailTls::None] {
        let server = MailServer::start(tls);
        let notifier = notifier(vec![("mail", server.receiver(tls, "right-password"))], None);
        let hostile = "Größe 日本 of pi-3\r\nBcc: evil@example.org\r\n\r\n<b> \u{1b}[31m\u{202e}";
        notifier.send(&name("mail"), said("disk.pi-3", Occasion::Firing, hostile));
        until("it is delivered", || {
            let status = status(&notifier, "mail");
            assert_eq!(status.last_error, None);
            status.delivered == 1
        })
        .await;
        let mail = server.mails().pop().unwrap();
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let secured = if tls == MailTls::None {
            "False"
        } else {
            "True"
        };
        for part in [
            &format!("X-Envelope: fleet@example.org ops@example.org,j@example.org {secured}\r\n"),
            "Date: Tue, 14 Nov 2023 22:14:20 +0000\r\n",
            "From: Fleet <fleet@example.org>\r\n",
            "Subject: [firing] =?utf-8?b?",
            "Message-ID: <",
            "To: ops@example.org, =?utf-8?b?",
        ] {
            assert!(head.contains(part), "{tls:?} {part}: {mail}");
        }
        assert!(!mail.contains("\nBcc:"), "{mail}");
        // As a mail program reads it.
        let read = Command::new("/usr/bin/python3")
            .arg("-c")
            .arg(
                "import email, sys, email.policy\n\
                 m = email.message_from_bytes(open(sys.argv[1], 'rb').read(), \
                 policy=email.policy.default)\n\
                 print(m['subject'])\nprint(m.get_content())",
            )
            .arg(server.folder.path().join("0.eml"))
            .output()
            .unwrap();
        let read = String::from_utf8(read.stdout).unwrap();
        assert!(
            read.starts_with("[firing] Größe 日本 of pi-3␍␊Bcc: evil"),
            "{read}\n{body}"
        );
        assert!(
            read.contains("firing: Größe 日本") && read.contains("␛[31m‹U+202E›"),
            "{read}"
        );
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_tried_for_ever() {
    let server = MailServer::start(MailTls::Starttls);
    let wrong = server.receiver(MailTls::Starttls, "wrong-password");
    let stranger = Receiver {
        ca: None,
        ..server.receiver(MailTls::Starttls, "right-password")
    };
    let notifier = notifier(vec![("wrong", wrong), ("stranger", stranger)], None);
    notifier.send(&name("wrong"), firing("disk.pi-3"));
    until("it is given up", || status(&notifier, "wrong").failed == 1).await;
    let status = status(&notifier, "wrong");
    let error = status.last_error.unwrap();
    assert!(
        error.contains("does not take this user name and password"),
        "{error}"
    );
    assert!(!error.contains("wrong-password"), "{error}");
    assert_eq!((status.waiting, server.logins()), (0, 1));

    let error = notifier.test(&name("stranger")).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.mails(), Vec::<String>::new());
}
