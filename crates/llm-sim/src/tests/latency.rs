//! Times by their distribution, without waiting for them.

use std::time::Duration;

use crate::Latency;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn lognormal_has_its_median_and_percentile() {
    let latency: Latency = "lognormal:600,2500".parse().unwrap();
    let mut times: Vec<Duration> = (0..100_000).map(|n| latency.sample(7, n)).collect();
    times.sort_unstable();
    let near = |at: usize, expected: f64| {
        let found = times[at].as_secs_f64() * 1e3;
        assert!((found / expected - 1.0).abs() < 0.05, "{found} is not near {expected}");
    };
    near(50_000, 600.0);
    near(99_000, 2500.0);
    // Symmetric about the median on a scale of logarithms.
    near(1_000, 600.0 * 600.0 / 2500.0);
    assert_eq!(latency.sample(7, 5), latency.sample(7, 5));
    assert_ne!(latency.sample(7, 5), latency.sample(8, 5));
}

#[test]
fn times_are_replayed_in_order_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("times");
    std::fs::write(&file, "10\n\n20.5\n30\n").unwrap();
    let latency: Latency = format!("replay:{}", file.display()).parse().unwrap();
    let times: Vec<Duration> = (0..4).map(|n| latency.sample(0, n)).collect();
    assert_eq!(times, [ms(10), Duration::from_micros(20_500), ms(30), ms(10)]);
    std::fs::write(&file, "10\nsoon\n").unwrap();
    let error = Latency::replay(&file).unwrap_err().to_string();
    assert!(error.contains("line 2: `soon` is no time"), "{error}");
    std::fs::write(&file, "\n").unwrap();
    assert!(Latency::replay(&file).is_err());
}

#[test]
fn texts_are_read_as_they_are_written() {
    for text in ["fixed:600", "lognormal:600,2500", "fixed:0.5"] {
        let latency: Latency = text.parse().unwrap();
        assert_eq!(latency.to_string(), text);
    }
    assert_eq!("600".parse::<Latency>().unwrap(), Latency::Fixed(ms(600)));
    for wrong in [
        "",
        "soon",
        "-1",
        "lognormal:600",
        "lognormal:600,500",
        "lognormal:0,5",
        "gauss:1,2",
        "replay:/no/such",
    ] {
        assert!(wrong.parse::<Latency>().is_err(), "{wrong}");
    }
}
