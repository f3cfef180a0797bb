_default:
    @just --list --unsorted

# everything that CI runs
ci:
    bash .ci/run
# all tests that need nothing but cargo
test:
    cargo test --workspace
# format and lints
lint:
    cargo fmt --check && cargo clippy --workspace --all-targets -- -D warnings
# a member on 127.0.0.1:2379
up:
    cargo run --release -p kstore -- server
# the simulator: just sim --seeds 20, or just sim --seed 7 to replay one
sim *args:
    cargo run -p kstore-jepsen --bin sim -- {{args}}
# power cuts on the simulated disk: just power --cuts 1000 --members 3
power *args:
    cargo run -p kstore-jepsen --bin power -- {{args}}
# real processes, killed at random moments
kill *args:
    cargo run -p kstore-jepsen --bin kill -- {{args}}
# the Go suite against a binary: just compat target/debug/kstore 3
compat binary members="1":
    bash jepsen/compat/run-suite.sh {{binary}} {{members}}
# load against any etcd endpoint
bench *args:
    cargo run --release -p kstore-benches -- {{args}}
# write the golden files anew
golden:
    UPDATE_GOLDENFILES=1 cargo test -p kstore-mvcc
