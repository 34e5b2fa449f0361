//! The binary `loadtest`: the table on stdout, progress on stderr, the verdict as exit code.

use std::process::ExitCode;

use clap::Parser;
use loadtest::cli::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let report = match loadtest::run(&cli.scenario).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("loadtest: {}", with_causes(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    print!("{}", report.table());
    if report.is_met() {
        return ExitCode::SUCCESS;
    }
    for verdict in report.slo.iter().filter(|verdict| !verdict.met) {
        eprintln!("loadtest: not met: {}, measured {}", verdict.objective, verdict.measured);
    }
    for one in report.comparison.iter().filter(|one| !one.met) {
        eprintln!("loadtest: worse than the baseline: {}: {}", one.name, one.summary());
    }
    ExitCode::FAILURE
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}
