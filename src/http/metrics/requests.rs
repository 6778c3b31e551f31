//! Counting requests, by the route that answers them. Routes are those of the code, so that no
//! request can make a new one; what none answers has an empty route.

use super::text::{Text, Type};
use crate::{
    controller::Controller,
    support::{DurationCounts, Durations},
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// Classes of statuses, by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The requests of one controller since it started.
#[derive(Debug, Default)]
pub struct Requests {
    routes: RwLock<BTreeMap<String, BTreeMap<&'static str, Arc<Counts>>>>,
}

/// Of one route and method.
#[derive(Debug, Default)]
struct Counts {
    classes: [AtomicU64; CLASSES.len()],
    durations: Durations,
}

/// The method, of those that routes have.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

impl Requests {
    fn of(&self, route: &str, method: &'static str) -> Arc<Counts> {
        let known = |routes: &BTreeMap<String, BTreeMap<&'static str, Arc<Counts>>>| {
            routes.get(route)?.get(method).cloned()
        };
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known(&routes) {
            return counts;
        }
        drop(routes);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let methods = routes.entry(route.to_owned()).or_default();
        methods.entry(method).or_default().clone()
    }

    fn count(&self, route: &str, method: &Method, status: StatusCode, begun: Instant) {
        let counts = self.of(route, word(method));
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        counts.classes[class - 1].fetch_add(1, Ordering::Relaxed);
        counts.durations.observe(begun.elapsed());
    }

    /// Writes their families.
    pub(super) fn write(&self, text: &mut Text) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let read: Vec<(&str, &str, [u64; CLASSES.len()], DurationCounts)> = routes
            .iter()
            .flat_map(|(route, methods)| {
                methods.iter().map(move |(method, counts)| {
                    let classes = counts.classes.each_ref();
                    let classes = classes.map(|c| c.load(Ordering::Relaxed));
                    (route.as_str(), *method, classes, counts.durations.read())
                })
            })
            .collect();
        let mut family = text.family(
            Type::Counter,
            "fleetctl_http_requests_total",
            "Requests, by the route that answered, method and class of the status.",
        );
        for (route, method, classes, _) in &read {
            for (class, count) in CLASSES.iter().zip(classes).filter(|(_, count)| **count > 0) {
                let labels = [("route", *route), ("method", *method), ("status", *class)];
                family.sample(&labels, *count as f64);
            }
        }
        let mut family = text.family(
            Type::Histogram,
            "fleetctl_http_request_duration_seconds",
            "Time until an answer began; streams go on after that.",
        );
        for (route, method, _, durations) in &read {
            family.durations(&[("route", route), ("method", method)], durations);
        }
    }
}

/// Counts every request.
pub(in crate::http) async fn count(
    State(c): State<Arc<Controller>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = path.as_ref().map_or("", MatchedPath::as_str);
    c.requests.count(route, &method, response.status(), begun);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_class() {
        let requests = Requests::default();
        let begun = Instant::now();
        let strange = Method::from_bytes(b"FROB").unwrap();
        for (route, method, status) in [
            ("/api/v1/nodes/{node}", &Method::GET, 200),
            ("/api/v1/nodes/{node}", &Method::GET, 204),
            ("/api/v1/nodes/{node}", &Method::GET, 404),
            ("", &strange, 404),
            ("", &Method::PUT, 599),
        ] {
            requests.count(route, method, StatusCode::from_u16(status).unwrap(), begun);
        }
        let mut text = Text::default();
        requests.write(&mut text);
        let text = text.done();
        let of = |labels: &str| format!("fleetctl_http_requests_total{{{labels}}} ");
        let node = "route=\"/api/v1/nodes/{node}\",method=\"GET\"";
        for line in [
            of(&format!("{node},status=\"2xx\"")) + "2\n",
            of(&format!("{node},status=\"4xx\"")) + "1\n",
            of("route=\"\",method=\"other\",status=\"4xx\"") + "1\n",
            of("route=\"\",method=\"other\",status=\"5xx\"") + "1\n",
            format!("fleetctl_http_request_duration_seconds_count{{{node}}} 3\n"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
