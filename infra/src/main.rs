//! The program `switchyard`.

use std::process::ExitCode;

use actors::runtime::guards::Guards;

/// Commands and changes are many small allocations on many threads; see ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    infra::cli::main(Guards::default())
}
