//! The first packet of a connection: who is it, may it enter, and what did it leave here?
//!
//! ```text
//! CONNECT ─► 3.1.1? ─► client id ─► gatekeeper ─► will allowed? ─► session ─► CONNACK 0
//!    │         no: 1      bad: 2      no: 3 4 5       no: 5        not its own: 5
//!    └ none in time, malformed: closed without an answer
//! ```

use super::connection::{Context, Io};
use super::encode::{self, ConnectCode};
use super::filter;
use super::hub::{Attachment, Kick, Newcomer};
use super::packet::{Connect, DecodeError, Packet, decode};
use super::rights::{Admission, Credentials, Refusal, Rights};
use super::stranger::is_stranger;
use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A client's longest name (MQTT promises 23, fleets have longer ones).
const MAX_CLIENT_ID: usize = 64;
/// CONNECT comes from anybody, so it gets less room: a will and a password of usual size.
const MAX_CONNECT: usize = 72 << 10;

/// A client that is in.
pub struct Admitted {
    /// Its session.
    pub attachment: Attachment,
    /// What it may do.
    pub rights: Arc<Rights>,
    /// Seconds; 0 means no limit.
    pub keep_alive: u16,
}

/// What became of a connection.
pub enum Entry {
    /// It is in.
    Admitted(Admitted),
    /// It speaks HTTP.
    Stranger,
    /// It has its answer.
    Refused,
}

/// Reads CONNECT and decides.
pub async fn admit(
    context: &Context,
    io: &mut Box<dyn Io>,
    input: &mut BytesMut,
    remote: SocketAddr,
) -> Entry {
    let meter = &context.hub.meter;
    let code = match timeout(context.hub.limits.connect, first_packet(context, io, input)).await {
        Ok(Ok(Packet::Connect(connect))) => match enter(context, *connect, remote).await {
            Ok(admitted) => return Entry::Admitted(admitted),
            Err(code) => code,
        },
        Ok(Err(Some(DecodeError::WrongProtocol))) => ConnectCode::WrongProtocol,
        Ok(Err(None)) if input.first().copied().is_some_and(is_stranger) => return Entry::Stranger,
        _ => {
            meter.connect_failures.one();
            return Entry::Refused;
        }
    };
    match code {
        ConnectCode::Accepted => {}
        ConnectCode::WrongProtocol => meter.refused_protocol.one(),
        ConnectCode::BadIdentifier => meter.refused_identifier.one(),
        ConnectCode::Unavailable => meter.refused_unavailable.one(),
        ConnectCode::BadCredentials => meter.refused_credentials.one(),
        ConnectCode::NotAuthorized => meter.refused_not_authorized.one(),
    }
    let mut output = BytesMut::with_capacity(4);
    encode::connack(&mut output, false, code);
    let answer = async {
        io.write_all(&output).await?;
        io.flush().await?;
        io.shutdown().await
    };
    // Whether the client still listens does not matter any more.
    let _ = timeout(Duration::from_secs(5).min(context.hub.limits.write), answer).await;
    Entry::Refused
}

async fn first_packet(
    context: &Context,
    io: &mut Box<dyn Io>,
    input: &mut BytesMut,
) -> Result<Packet, Option<DecodeError>> {
    let max = MAX_CONNECT.min(context.hub.limits.max_packet);
    loop {
        // CONNECT or nothing (MQTT-3.1.0-1): do not even read on.
        if input.first().is_some_and(|first| *first != 0x10) {
            return Err(None);
        }
        if let Some(packet) = decode(input, max).map_err(Some)? {
            return Ok(packet);
        }
        input.reserve(256);
        match io.read_buf(input).await {
            Ok(count) if count > 0 => {}
            _ => return Err(None),
        }
    }
}

async fn enter(
    context: &Context,
    connect: Connect,
    remote: SocketAddr,
) -> Result<Admitted, ConnectCode> {
    let hub = &context.hub;
    let id = client_id(&connect)?;
    let credentials = Credentials {
        client_id: &id,
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
        remote,
    };
    let Admission { principal, rights } =
        context.gatekeeper.admit(&credentials).map_err(|refusal| {
            tracing::debug!(client = id, %remote, %refusal, "client refused");
            match refusal {
                Refusal::BadCredentials => ConnectCode::BadCredentials,
                Refusal::NotAuthorized => ConnectCode::NotAuthorized,
                Refusal::Unavailable => ConnectCode::Unavailable,
            }
        })?;
    if let Some(will) = &connect.will {
        let valid = filter::valid_topic(&will.topic, hub.limits.max_topic);
        if !valid || !rights.may_publish(&will.topic) {
            hub.meter.denied_publishes.one();
            if hub.may_complain(&principal) {
                tracing::warn!(client = id, principal, topic = ?will.topic, "will refused");
            }
            return Err(ConnectCode::NotAuthorized);
        }
    }
    let newcomer = Newcomer {
        id: &id,
        principal: &principal,
        rights: &rights,
        clean: connect.clean,
        will: connect.will,
    };
    let attachment = hub.attach(newcomer);
    if let Some(old) = &attachment.replaced {
        hub.meter.takeovers.one();
        // The old connection's will is published here and not in its own task: "offline" must
        // not come after what the new connection says.
        let will = old.take_will();
        old.kick(Kick::Takeover);
        if let Some(will) = will {
            context.publish_will(will).await;
        }
    }
    hub.meter.accepted.one();
    Ok(Admitted {
        attachment,
        rights,
        keep_alive: connect.keep_alive,
    })
}

/// The client's id, or one made up for a client without one (MQTT-3.1.3-6).
fn client_id(connect: &Connect) -> Result<String, ConnectCode> {
    let id = &connect.client_id;
    if id.is_empty() && connect.clean {
        let mut random = [0; 8];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| ConnectCode::Unavailable)?;
        let mut made_up = String::from("auto-");
        for byte in random {
            let _ = write!(made_up, "{byte:02x}"); // writing to a string cannot fail
        }
        return Ok(made_up);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if id.is_empty() || id.len() > MAX_CLIENT_ID || !id.bytes().all(allowed) {
        return Err(ConnectCode::BadIdentifier);
    }
    Ok(id.clone())
}
