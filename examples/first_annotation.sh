#!/usr/bin/env bash
# What a newcomer types, from nothing to a first annotation: examples/first_annotation.sh [WHEEL]. Without a wheel, the package
# comes from PyPI. It takes some minutes at most, and says how many seconds.
set -euo pipefail
package=${1:-grainstore}
[ ! -f "$package" ] || package=$(cd "$(dirname "$package")" && pwd)/$(basename "$package")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
started=$SECONDS

python3 -m venv env
. env/bin/activate 2>/dev/null || . env/Scripts/activate
pip install --quiet --disable-pip-version-check "$package"
grainstore --version
python - <<'END'
import grainstore

made = grainstore.demo("demo", train_images=60, test_images=12, only_scenes=True)
store = grainstore.create("photos.store")
store.ingest_images("demo/scenes/train", source="synthetic")
store.ingest_coco("demo/scenes/test.json", "demo/scenes/test", split="test", dataset="scenes")
store.extract(made["checkpoint"], points_per_side=8)
store.classes_add("kinds", from_="labels")
store.train("fine", "kinds")
store.annotate("fine", where="split = 'test'")
store.show(where="split = 'test'", head="fine").save("annotation.png")
print(store.sql("SELECT class, count(*) AS masks FROM predictions WHERE kept GROUP BY class ORDER BY class").to_pydict())
END
test -s annotation.png
echo "first annotation after $((SECONDS - started)) s"
