"""The same records through datatrove, as far as it has the operations: run by ``corpus.py --rival``.

Reading, ftfy, masking of e-mail and IP addresses, near duplicates by MinHash, counting tokens, writing. It
has no counterpart of de-identification beyond that, of moderation in Chinese, contamination without
downloads, shortening or an audit: what it does here is a part of what MulMed's stage does.

    PYTHON_WITH_DATATROVE corpus_datatrove.py INPUT.jsonl WORK TOKENIZER.json PROCESSES
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import TokensCounter
from datatrove.pipeline.writers import JsonlWriter


def main() -> None:
    source, work, tokenizer, processes = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    config = MinhashConfig(n_grams=5)
    lines = source.read_text(encoding="utf-8").splitlines()
    began = time.perf_counter()
    # One file a task, as its users divide their data.
    parts = work / "parts"
    parts.mkdir(parents=True)
    for i in range(processes):
        (parts / f"{i}.jsonl").write_text("\n".join(lines[i::processes]) + "\n", encoding="utf-8")

    def run(*steps: object, tasks: int, name: str) -> None:
        LocalPipelineExecutor(
            pipeline=list(steps), tasks=tasks, workers=processes, logging_dir=str(work / "logs" / name)
        ).run()

    run(
        JsonlReader(str(parts)), FTFYFormatter(), PIIFormatter(), TokensCounter(tokenizer),
        JsonlWriter(str(work / "clean"), compression=None), tasks=processes, name="clean",
    )  # fmt: skip
    run(
        JsonlReader(str(work / "clean")), MinhashDedupSignature(str(work / "signatures"), config=config),
        tasks=processes, name="signatures",
    )  # fmt: skip
    run(
        MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config),
        tasks=config.num_buckets, name="buckets",
    )  # fmt: skip
    run(
        MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config), tasks=1, name="cluster",
    )  # fmt: skip
    run(
        JsonlReader(str(work / "clean")), MinhashDedupFilter(str(work / "remove")), JsonlWriter(str(work / "out"), compression=None),
        tasks=processes, name="filter",
    )  # fmt: skip
    print(json.dumps({"records": len(lines), "seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
