//! Retained messages: kept, replaced, deleted, bounded, and complete for who comes late.

use super::client::{Server, until};
use fleetctl::broker::Limits;
use rumqttc::mqttbytes::QoS;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_subscriber_gets_every_one() {
    const COUNT: usize = 5000;
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    for number in 0..COUNT {
        let topic = format!("fleet/metadata/n{number}");
        publisher
            .publish(&topic, QoS::AtLeastOnce, true, vec![b'x'; 1000])
            .await;
    }
    for (id, qos) in [("zero", QoS::AtMostOnce), ("one", QoS::AtLeastOnce)] {
        let mut late = server.client(id).await;
        late.subscribe("fleet/metadata/+", qos).await;
        let mut topics = BTreeSet::new();
        for _ in 0..COUNT {
            let message = late.message().await;
            assert_eq!((message.retain, message.qos), (true, qos));
            if qos == QoS::AtLeastOnce {
                late.ack(&message).await;
            }
            assert!(topics.insert(message.topic), "each one once");
        }
        late.quiet().await;
    }
    assert_eq!(server.broker.counters().dropped, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_between_retained_and_live_is_lost() {
    const TOPICS: usize = 500;
    let server = Server::with(Limits {
        queue_messages: 10_000,
        ..Limits::default()
    })
    .await;
    let mut publisher = server.client("publisher").await;
    for number in 0..TOPICS {
        publisher
            .publish(&format!("k/{number}"), QoS::AtLeastOnce, true, "0")
            .await;
    }
    let changing = async {
        for value in 1..=3 {
            for number in 0..TOPICS {
                let topic = format!("k/{number}");
                publisher
                    .publish(&topic, QoS::AtLeastOnce, true, format!("{value}"))
                    .await;
            }
        }
    };
    let watching = async {
        let mut late = server.client("late").await;
        late.subscribe("k/#", QoS::AtLeastOnce).await;
        let mut last = vec![-1; TOPICS];
        while last.iter().any(|value| *value < 3) {
            let message = late.message().await;
            late.ack(&message).await;
            let number: usize = message.topic[2..].parse().unwrap();
            let value: i32 = std::str::from_utf8(&message.payload)
                .unwrap()
                .parse()
                .unwrap();
            assert!(
                value > last[number],
                "{} went from {} to {value}",
                message.topic,
                last[number]
            );
            last[number] = value;
        }
    };
    tokio::join!(changing, watching);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_refuses_when_it_is_full() {
    let limits = Limits {
        retained_messages: 3,
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut client = server.client("client").await;
    client.subscribe("#", QoS::AtMostOnce).await;
    for topic in ["a", "b", "c", "d"] {
        client.publish(topic, QoS::AtLeastOnce, true, "1").await;
        assert_eq!(
            client.message().await.topic,
            topic,
            "passed on, kept or not"
        );
    }
    assert_eq!(server.broker.counters().retained_refused, 1);
    client.publish("a", QoS::AtLeastOnce, true, "").await;
    client.publish("d", QoS::AtLeastOnce, true, "2").await;
    until("d is kept", || {
        let topics: Vec<_> = server
            .broker
            .retained("#")
            .into_iter()
            .map(|kept| kept.0)
            .collect();
        topics == ["b", "c", "d"]
    })
    .await;
}
