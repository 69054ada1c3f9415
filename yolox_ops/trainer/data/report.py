"""What was found in the files of a data set: how much of it, and where."""

from collections import Counter

EXAMPLES = 10  # of each kind, in words; the counts are of all

# kind: what became of such records, and how they read after their number
BAD = {
    "image_fields": ("skipped {} image{}", "without a usable id, file_name or size"),
    "image_id_taken": ("skipped {} image{}", "with the id of another"),
    "image_outside": ("skipped {} image{}", "whose file_name leaves the folder"),
    "image_missing": ("skipped {} image{}", "whose file is not there"),
    "annotation_fields": ("skipped {} annotation{}", "without usable fields"),
    "unknown_image": ("skipped {} annotation{}", "of an image that is not listed"),
    "skipped_image": ("skipped {} annotation{}", "of an image that was skipped"),
    "unknown_category": ("skipped {} annotation{}", "of a category that is not listed"),
    "other_class": ("skipped {} annotation{}", "of a category that is not in class_names"),
    "bbox": ("skipped {} annotation{}", "whose bbox is not four finite numbers"),
    "no_size": ("skipped {} annotation{}", "with a box of zero size"),
    "outside": ("skipped {} annotation{}", "with a box outside its image"),
    "unreadable": ("met {} bad image{} on reading", "replaced by grey without objects"),
    "other_size": ("met {} bad image{} on reading", "of another size than recorded"),
}
NOTES = {
    "linked": ("{} note{} on what was kept", "on an image outside the folder, where a link leads"),
    "clipped": ("{} note{} on what was kept", "on a box clipped to its image"),
    "crowd": ("{} note{} on what was kept", "on a crowd, for evaluation alone"),
    "area": ("{} note{} on what was kept", "on an area that is no positive number, replaced by that of the bbox"),
}


class Report:
    """Counts by kind, and the first of each kind in words; str() is what a person should see of it.

    Attributes:
        source: the file that was read.
        images, objects: how many there are to train on.
        counts: by kind, a key of BAD (what on_bad="refuse" refuses) or NOTES (the usual).
        examples: up to EXAMPLES of each kind, "annotations[12] (id 345): rule, fact".
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.images = self.objects = 0
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def refuse(self) -> None:
        """Raises ValueError if anything bad was counted: the first examples, and how many more there are."""
        bad = sum(self.counts[kind] for kind in BAD)
        if bad:
            shown = [example for kind in BAD for example in self.examples.get(kind, [])][:EXAMPLES]
            more = [f"and {bad - len(shown)} more"] if bad > len(shown) else []
            first = f"{self.source} must hold no bad record with on_bad='refuse', got {bad}:"
            raise ValueError("\n  ".join([first, *shown, *more]))

    def __str__(self) -> str:
        totals: Counter[str] = Counter()
        parts: dict[str, list[str]] = {}
        for kind, (outcome, words) in (BAD | NOTES).items():
            if self.counts[kind]:
                totals[outcome] += self.counts[kind]
                parts.setdefault(outcome, []).append(f"{self.counts[kind]} {words}, such as {self.examples[kind][0]}")
        groups = [f"{outcome.format(n, 's' * (n != 1))}: {'; '.join(parts[outcome])}" for outcome, n in totals.items()]
        return "; ".join([f"{self.source}: {self.images} images, {self.objects} objects", *groups])
