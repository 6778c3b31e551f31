//! Docker and Podman for real, through the trait: each test runs on both engines.
//!
//! The engines and the registry are private ones that `tests/engines.sh` starts; where they are
//! is in environment variables, and without those the tests fail rather than pretend. Each test
//! has a node name of its own, and removes at its end everything that carries it.

mod configured;
mod ends;
mod exec;
mod faults;
mod fixture;
mod foreign;
mod health;
mod images;
mod lifecycle;
mod streams;

/// Each named function, once for each engine.
macro_rules! on_both_engines {
    ($($test:ident),* $(,)?) => {
        mod docker {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&crate::engine::fixture::Fixture::docker(stringify!($test)).await)
                        .await;
                }
            )*
        }
        mod podman {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&crate::engine::fixture::Fixture::podman(stringify!($test)).await)
                        .await;
                }
            )*
        }
    };
}
pub(crate) use on_both_engines;
