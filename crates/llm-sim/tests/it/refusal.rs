//! Connections refused, and let in again on the same port.

use std::io::ErrorKind;

use llm_sim::{Fault, Faults};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{SOON, openai, post_openai, start};

#[tokio::test]
async fn the_port_is_closed_and_opened_again() {
    let simulator = start().await;
    let mut live = TcpStream::connect(simulator.address()).await.unwrap();
    // It is accepted once somebody else is served.
    post_openai(&simulator, &openai("what is metabolomics", false)).await.unwrap();
    for _ in 0..3 {
        simulator.refuse_connections(true).await;
        let error = TcpStream::connect(simulator.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        simulator.refuse_connections(false).await;
        let response = post_openai(&simulator, &openai("what is metabolomics", false)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let ended = tokio::time::timeout(SOON, live.read(&mut [0; 8])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn some_connections_are_reset_before_anything_is_read() {
    let simulator = start().await;
    simulator.set_faults(Faults::none().with(Fault::ConnectionRefused, 0.5).unwrap()).await;
    let mut n_served = 0;
    for _ in 0..40 {
        let sent = post_openai(&simulator, &openai("what is metabolomics", false)).await;
        n_served += u64::from(sent.is_ok());
    }
    assert!((8..=32).contains(&n_served), "{n_served}");
    // What was reset is no request.
    assert_eq!(simulator.stats().requests, n_served);
    assert!(simulator.stats().by_fault[&Fault::ConnectionRefused] >= 40 - n_served);
}

#[tokio::test]
async fn a_simulator_that_is_dropped_is_gone() {
    let simulator = start().await;
    let address = simulator.address();
    let mut live = TcpStream::connect(address).await.unwrap();
    drop(simulator);
    // The end of what was open comes with, or after, that of the port.
    let _ = tokio::time::timeout(SOON, live.read(&mut [0; 8])).await.unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
