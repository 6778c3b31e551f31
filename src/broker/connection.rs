//! One connection, from its first byte to its end, in one task.
//!
//! ```text
//! admit ─► CONNACK ─► ┌ take packets ─► fill output ─► wait for: bytes, room to write,  ┐ ─► will,
//!                     └──────────── a message, the clock, a kick ◄──────────────────────┘    detach
//! ```
//!
//! Nothing here is unbounded: input is read only when the last of it is taken, packets are taken
//! only while there is room for their answers, messages are fetched only while there is room for
//! them, and both silence and a peer that does not read have a time limit.

use super::bus::{Bus, RouterGone};
use super::encode::{self, ConnectCode};
use super::filter;
use super::handshake::{self, Admitted, Entry};
use super::hub::{Hub, Kick, Live, Session};
use super::packet::{DecodeError, Packet, Publish, Qos, Will, decode};
use super::rate::Bucket;
use super::rights::{Gatekeeper, Rights};
use super::stranger::{self, Stranger};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// More output than this waits: no packets are taken and no messages are fetched.
const OUTPUT_HIGH: usize = 32 << 10;
/// What a connection keeps for reading while nothing comes.
const INPUT_IDLE: usize = 512;
/// When there is nothing to wait for.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// A TCP or TLS stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What every connection needs.
pub struct Context {
    /// Sessions, subscriptions, retained messages.
    pub hub: Hub,
    /// Takes what clients publish.
    pub bus: Bus,
    /// Decides who may enter.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// Takes connections that speak HTTP.
    pub stranger: Option<Arc<dyn Stranger>>,
    /// One permit per open connection.
    pub open: Arc<Semaphore>,
}

impl Context {
    /// Publishes the will of a client that was lost.
    pub async fn publish_will(&self, will: Will) {
        self.hub.meter.wills.one();
        self.hub.meter.publishes_in.one();
        let topic = will.topic.as_bytes();
        // A router that is gone ends the whole broker elsewhere.
        let _ = self
            .bus
            .publish(topic, &will.payload, will.qos, will.retain)
            .await;
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client disconnected")]
    Clean,
    #[error("the connection was lost")]
    Lost,
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error("the client {0}")]
    Forbidden(&'static str),
    #[error("the client published to a topic that it has no right to")]
    Denied,
    #[error("nothing came from the client in its keep-alive time")]
    Silent,
    #[error("the client did not take what was sent")]
    Stalled,
    #[error("the broker ended it ({0:?})")]
    Kicked(Kick),
    #[error(transparent)]
    RouterGone(#[from] RouterGone),
}

/// Serves one connection until it ends.
pub async fn serve(context: Arc<Context>, mut io: Box<dyn Io>, remote: SocketAddr) {
    let mut input = BytesMut::new();
    // Boxed, so that an idle connection does not carry the room that its beginning needed.
    let admission = Box::pin(handshake::admit(&context, &mut io, &mut input, remote)).await;
    let Admitted {
        attachment,
        rights,
        keep_alive,
    } = match admission {
        Entry::Admitted(admitted) => admitted,
        Entry::Stranger => {
            let stranger = context.stranger.clone();
            drop(context);
            return stranger::hand_over(stranger, io, input, remote).await;
        }
        Entry::Refused => return,
    };
    let limits = &context.hub.limits;
    let now = Instant::now();
    let mut connection = Connection {
        context: &context,
        session: &attachment.session,
        live: &attachment.live,
        bucket: (!rights.unlimited)
            .then(|| Bucket::new(limits.publish_rate, limits.publish_burst, now)),
        rights: &rights,
        keep_alive: (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1500)),
        last_heard: now,
        waiting: None,
        waiting_until: None,
    };
    let mut output = BytesMut::new();
    encode::connack(&mut output, attachment.present, ConnectCode::Accepted);
    let (mut reader, mut writer) = tokio::io::split(io);
    let end = connection
        .run(&mut reader, &mut writer, input, output)
        .await;
    // Closed only after this: who sees the end of its connection finds its session left.
    connection.leave(end).await;
}

struct Connection<'a> {
    context: &'a Context,
    session: &'a Arc<Session>,
    live: &'a Arc<Live>,
    rights: &'a Rights,
    bucket: Option<Bucket>,
    /// 1.5 times what the client promised.
    keep_alive: Option<Duration>,
    last_heard: Instant,
    /// A publish that came faster than the rate allows, and when it may go on.
    waiting: Option<Publish>,
    waiting_until: Option<Instant>,
}

impl Connection<'_> {
    async fn run(
        &mut self,
        reader: &mut ReadHalf<Box<dyn Io>>,
        writer: &mut WriteHalf<Box<dyn Io>>,
        mut input: BytesMut,
        mut output: BytesMut,
    ) -> End {
        let timer = sleep_until(self.last_heard + FAR);
        tokio::pin!(timer);
        // Written but perhaps not flushed yet.
        let mut unflushed = false;
        let (mut written, mut seen) = (0, 0);
        let mut progress_at = self.last_heard;
        loop {
            if let Some(kick) = self.live.reason() {
                return End::Kicked(kick);
            }
            let hungry = match self.take_packets(&mut input, &mut output).await {
                Ok(hungry) => hungry,
                Err(end) => return end,
            };
            self.fill(&mut output);
            let now = Instant::now();
            if written != seen || !unflushed {
                (seen, progress_at) = (written, now);
            }
            unflushed |= !output.is_empty();
            let write_due = unflushed.then(|| progress_at + self.context.hub.limits.write);
            let silence_due = self
                .keep_alive
                .map(|keep_alive| self.last_heard + keep_alive);
            if write_due.is_some_and(|due| due <= now) {
                return End::Stalled;
            }
            // Our own waiting is not the client's silence.
            if self.waiting.is_none() && silence_due.is_some_and(|due| due <= now) {
                return End::Silent;
            }
            let dues = [
                write_due,
                silence_due.filter(|due| *due > now),
                self.waiting_until,
            ];
            let due = dues.into_iter().flatten().min().unwrap_or(now + FAR);
            // A timer that fires too early only costs a turn; one that fires too late is wrong.
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            if hungry {
                input.reserve(INPUT_IDLE);
            }
            tokio::select! {
                () = self.live.kicked.notified() => {}
                result = write_out(writer, &mut output, &mut written), if unflushed => {
                    if result.is_err() {
                        return End::Lost;
                    }
                    unflushed = false;
                    output = BytesMut::new();
                }
                result = reader.read_buf(&mut input), if hungry => match result {
                    Ok(count) if count > 0 => self.last_heard = Instant::now(),
                    _ => return End::Lost,
                },
                () = self.session.wake.notified(), if output.len() < OUTPUT_HIGH => {}
                () = &mut timer => {}
            }
        }
    }

    /// Handles the packets that have come, as long as there is room for answers and the rate
    /// allows it. Returns whether more bytes are wanted.
    async fn take_packets(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<bool, End> {
        if let Some(publish) = self.waiting.take() {
            self.waiting_until = None;
            self.last_heard = Instant::now();
            self.publish(publish, output).await?;
        }
        while self.waiting.is_none() && output.len() < OUTPUT_HIGH {
            if self.live.reason().is_some() {
                return Ok(false);
            }
            match decode(input, self.context.hub.limits.max_packet)? {
                Some(packet) => self.handle(packet, output).await?,
                None => {
                    if input.is_empty() {
                        *input = BytesMut::new(); // gives a large buffer back
                    }
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn handle(&mut self, packet: Packet, output: &mut BytesMut) -> Result<(), End> {
        let hub = &self.context.hub;
        match packet {
            Packet::Connect(_) => return Err(End::Forbidden("sent CONNECT twice")),
            Packet::Publish(publish) => self.publish(publish, output).await?,
            Packet::PubAck(pkid) => hub.acknowledge(self.session, self.live, pkid),
            Packet::Subscribe { pkid, filters } => {
                // What was published before is in the retained store first, so that it comes as
                // a retained message and not as a live one.
                self.context.bus.settled().await;
                let granted: Vec<_> = filters
                    .iter()
                    .map(|(filter, qos)| hub.subscribe(self.session, self.rights, filter, *qos))
                    .collect();
                encode::suback(output, pkid, &granted);
            }
            Packet::Unsubscribe { pkid, filters } => {
                for filter in &filters {
                    hub.unsubscribe(self.session, filter);
                }
                encode::unsuback(output, pkid);
            }
            Packet::PingReq => encode::pingresp(output),
            Packet::Disconnect => {
                let _ = self.live.take_will(); // MQTT-3.14.4-3
                return Err(End::Clean);
            }
        }
        Ok(())
    }

    async fn publish(&mut self, publish: Publish, output: &mut BytesMut) -> Result<(), End> {
        let hub = &self.context.hub;
        let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
        if !filter::valid_topic(topic, hub.limits.max_topic) {
            return Err(End::Forbidden(
                "published to a topic that is not allowed here",
            ));
        }
        if !self.rights.may_publish(topic) {
            hub.meter.denied_publishes.one();
            if hub.may_complain(self.session.principal()) {
                tracing::warn!(
                    client = self.session.id(),
                    principal = self.session.principal(),
                    topic,
                    "publish refused"
                );
            }
            return Err(End::Denied);
        }
        if let Some(bucket) = &mut self.bucket
            && let Err(until) = bucket.take(Instant::now(), publish.payload.len())
        {
            hub.meter.throttled.one();
            self.waiting_until = Some(until);
            self.waiting = Some(publish);
            return Ok(());
        }
        hub.meter.publishes_in.one();
        hub.meter.bytes_in.add(publish.payload.len() as u64);
        self.context
            .bus
            .publish(
                &publish.topic,
                &publish.payload,
                publish.qos,
                publish.retain,
            )
            .await?;
        if publish.qos == Qos::AtLeastOnce {
            encode::puback(output, publish.pkid);
        }
        Ok(())
    }

    /// Writes what the session has for the client, as far as there is room.
    fn fill(&self, output: &mut BytesMut) {
        let hub = &self.context.hub;
        while output.len() < OUTPUT_HIGH {
            let Some(outgoing) = hub.next(self.session, self.live) else {
                break;
            };
            hub.meter.publishes_out.one();
            hub.meter
                .bytes_out
                .add(outgoing.delivery.payload.len() as u64);
            encode::publish(output, &outgoing);
        }
    }

    /// Publishes the will if it is due, then leaves the session. In this order, since the same
    /// client may be on its way back and speak after its will.
    async fn leave(&self, end: End) {
        let (hub, session) = (&self.context.hub, self.session);
        let will = self.live.take_will();
        match &end {
            End::Undecodable(_) | End::Forbidden(_) => hub.meter.protocol_errors.one(),
            End::Silent => hub.meter.keep_alive_timeouts.one(),
            End::Stalled => hub.meter.write_timeouts.one(),
            End::Kicked(Kick::Overrun) => hub.meter.overruns.one(),
            _ => {}
        }
        // When everybody is sent away there is nobody to tell.
        let due = !matches!(
            end,
            End::Clean | End::Kicked(Kick::Shutdown) | End::RouterGone(_)
        );
        if let (Some(will), true) = (will, due) {
            self.context.publish_will(will).await;
        }
        hub.detach(session, self.live);
        tracing::debug!(client = session.id(), principal = session.principal(), reason = %end,
            "connection ended");
    }
}

/// Writes and flushes everything. May be dropped at any time and called again; `written` grows
/// with every byte, so that progress can be told from standstill.
async fn write_out(
    writer: &mut WriteHalf<Box<dyn Io>>,
    output: &mut BytesMut,
    written: &mut u64,
) -> io::Result<()> {
    while !output.is_empty() {
        match writer.write_buf(output).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => *written += count as u64,
        }
    }
    writer.flush().await
}
