//! Seeds with every rule kept, and for each rule seeds without it: the checker must tell.

use actors::runtime::guards::Guards;
use tests::simulator::{run, wall_clock};

/// Seeds that every run of the tests goes through; `SWITCHYARD_SEEDS` widens or moves the range:
/// `2000` or `500..9000`.
const SEEDS: std::ops::Range<u64> = 0..2_000;
/// Within so many seeds a rule that is off must be noticed.
const NOTICED_WITHIN: u64 = 400;

fn seeds() -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("SWITCHYARD_SEEDS") else { return SEEDS };
    let (from, to) = wanted.split_once("..").unwrap_or(("0", &wanted));
    let number = |text: &str| text.parse().expect("SWITCHYARD_SEEDS is N or FROM..TO");
    number(from)..number(to)
}

#[test]
fn every_seed_keeps_every_promise() {
    let (mut acknowledged, mut fences) = (0, 0);
    for seed in seeds() {
        let outcome = run(seed, Guards::default());
        assert!(
            outcome.violations.is_empty(),
            "replay with SWITCHYARD_SEEDS={seed}..{}: {:#?}",
            seed + 1,
            outcome.violations
        );
        acknowledged += outcome.acknowledged;
        fences += outcome.fences;
    }
    // A simulation in which nothing happens would keep every promise too.
    let runs = seeds().count();
    assert!(acknowledged > 40 * runs, "only {acknowledged} commands were acknowledged");
    assert!(fences > 2 * runs, "the partition was taken only {fences} times");
}

#[test]
fn a_seed_replays_to_the_same_history() {
    for seed in 0..20 {
        let (one, two) = (run(seed, Guards::default()), run(seed, Guards::default()));
        assert_eq!((one.acknowledged, one.fences), (two.acknowledged, two.fences));
    }
}

/// Runs with one rule off until the checker finds a violation.
fn notices(rule: &str, off: impl Fn(&mut Guards)) {
    for seed in 0..NOTICED_WITHIN {
        let mut guards = Guards::default();
        off(&mut guards);
        if !run(seed, guards).violations.is_empty() {
            return;
        }
    }
    panic!("nobody notices that {rule} is off within {NOTICED_WITHIN} seeds");
}

macro_rules! noticed {
    ($($name:ident: $rule:literal, $off:expr;)*) => {
        $(
            #[test]
            fn $name() {
                notices($rule, $off);
            }
        )*
    };
}

noticed! {
    r1_one_record_per_command: "R1", |guards| guards.one_record = false;
    r2_fence: "R2", |guards| guards.fence = false;
    r3_reader_rule: "R3", |guards| guards.reader_rule = false;
    r4_start_position: "R4", |guards| guards.start_position = false;
    r5_answer_after_the_log: "R5", |guards| guards.answer_after_log = false;
    r6_fail_stop: "R6", |guards| guards.fail_stop = false;
    r7_compare_and_set: "R7", |guards| guards.compare_and_set = false;
    r8_idempotency: "R8", |guards| guards.idempotency = false;
    r9_determinism: "R9", |guards| {
        guards.determinism = false;
        guards.clock = wall_clock;
    };
    r11_poison: "R11", |guards| guards.poison = false;
    r13_read_your_writes: "R13", |guards| guards.read_your_writes = false;
    r14_isolation: "R14", |guards| guards.isolation = false;
}
