use super::*;

const GOOD: &str = r#"
name = "all of it"
join = { rooms = 3, per_socket = 2 }
[slo]
lost = 0
delivery.p99 = "50ms"
p50 = "1s"
[[phases]]
name = "open"
duration = "2s"
measured = false
sockets = { from = 0, to = 10 }
[[phases]]
name = "load"
duration = "1m"
commands = 5
requests = { from = 1, to = 2.5 }
storm = { at = "1s", share = 0.5, jitter = "2s" }
slow = { for = "3s" }
"#;

#[test]
fn a_whole_file_is_read() {
    let file = File::parse(GOOD).unwrap();
    assert_eq!(file.most_sockets(), 10);
    assert_eq!(file.phases[1].requests, Level { from: 1.0, to: 2.5 });
    assert_eq!(file.phases[1].commands, Level { from: 5.0, to: 5.0 });
    assert_eq!(file.phases[1].storm.as_ref().unwrap().jitter, Duration::from_secs(2));
    let slos: Vec<String> = file.slos().unwrap().iter().map(Slo::to_string).collect();
    assert_eq!(slos, ["delivery.p99 ≤ 50.0 ms", "lost ≤ 0", "p50 ≤ 1.00 s"]);
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, named) in [
        ("commands = 5", "comands = 5", "comands"),
        ("share = 0.5", "shares = 0.5", "shares"),
        ("share = 0.5", "share = 1.5", "phases[1].storm.share"),
        ("at = \"1s\"", "at = \"2m\"", "phases[1].storm.at"),
        ("to = 2.5", "until = 2.5", "until"),
        ("to = 2.5", "to = -1", "phases[1].requests"),
        ("duration = \"2s\"", "duration = \"2\"", "needs a unit"),
        ("lost = 0", "lots = 0", "slo.lots"),
        ("p99 = \"50ms\"", "p42 = \"50ms\"", "slo.delivery.p42"),
        ("per_socket = 2", "per_socket = 4", "join.per_socket"),
        ("join = { rooms = 3, per_socket = 2 }", "", "phases[1].commands"),
        ("name = \"all of it\"", "name = \"x\"\nreceive_buffer = 1", "receive_buffer"),
        ("commands = 5", "measured = false", "phases: none is measured"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = File::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn the_files_that_come_along_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = File::read(&path).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str(), Some(file.name.as_str()));
        assert!(!file.slo.is_empty(), "{}", file.name);
        names.push(file.name);
    }
    assert_eq!(names.len(), 12);
}
