"""Images: clean, perturbation and adversarial, and what each victim answers."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from carom.app.queries import cells as cell_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.cases import case_of
from carom.scenarios.charts import picture
from carom.scenarios.charts.names import short
from carom.scenarios.tables.table import interval_words

A_PAGE = 12  # images
FIRST = 3  # victims that are chosen until somebody chooses
MOST_VICTIMS = 12
CONTROL = "no surrogate (control)"
ANY = "any"
AGREE = {ANY: "any", "agree": "all answer alike", "disagree": "answers differ"}
MARKS: dict[str, str] = {
    "fooled": ":red-badge[fooled]",
    "withstood": ":green-badge[withstood]",
    "wrong clean": ":gray-badge[wrong clean]",
}


def page(opened: Opened) -> float:
    """The images of one adversarial set, filtered by what victims answered."""
    header(opened, "Images")
    if run_queries.state(opened.run) == "published":
        st.info("A published run has rates only, no images. Choose a run of your own on the left.")
        return 0.0
    sets = cell_views.adversarial_sets(opened)
    if sets.empty:
        st.info("No adversarial set has been crafted yet. Images appear here by themselves as soon as one is.")
        return 0.0
    made = choose_set(sets)
    known = cell_views.answering(opened, made)
    if known.empty:
        st.info("No victim has answered this set yet. Choose another one, or wait for the run.")
        return 0.0
    victims = choose_victims(list(known["victim"]))
    ids = {str(row.victim): int(str(row.victim_id)) for row in known.itertuples()}
    try:
        found = cell_views.answered(opened, made, [ids[v] for v in victims])
    except CaromError as error:
        st.warning(plain(error))
        return 0.0
    rates(found)
    places = choose_images(found, victims)
    if not places:
        st.info("No image passes these filters. Choose another class, outcome or victim, or set them to any.")
        return 0.0
    grid(opened, made, found, places)
    return 0.0


def choose_set(sets: pd.DataFrame) -> int:
    """One adversarial set, its row of the store: by surrogate, attack and budget, then by what is left."""
    boxes = st.columns(4)
    for box, label, name in zip(
        boxes, ("Surrogate", "Attack", "Budget"), ("surrogate", "attack", "budget"), strict=False
    ):
        options = [str(option) for option in sets[name].unique()]
        # a control has no surrogate; it comes last, and not by itself
        options = [o for o in options if o] + [o for o in options if not o]
        words = {o: o or CONTROL for o in options}
        first = options[0]
        if name == "surrogate":  # one that made what the address asks for
            able = set(sets.loc[sets["attack"] == st.query_params.get("attack"), name])
            first = next((o for o in options if o in able), first)
        chosen = pick(box.selectbox, label, options, name, first, format_func=lambda o, words=words: words.get(o, o))
        sets = sets[sets[name] == chosen]
    if len(sets) > 1:
        names = {
            str(row.set_id): f"attack seed {row.attack_seed!s}" + (f", asked {row.asked!s}" if row.asked else "")
            for row in sets.itertuples()
        }
        ids = list(names)
        chosen = pick(boxes[3].selectbox, "Set", ids, "set", ids[0], format_func=lambda id_: names.get(id_, id_))
        sets = sets[sets["set_id"].astype(str) == chosen]
    return int(sets["set_id"].iloc[0])


def choose_victims(labels: Sequence[str]) -> list[str]:
    """Some victims, which stand in the address as often as there are any."""
    key, written = "several-victims", "address-victims"
    asked = st.query_params.get_all("victims")
    if asked and asked != st.session_state.get(written):
        st.session_state[key] = [v for v in asked if v in labels][:MOST_VICTIMS]
    kept = st.session_state.get(key) or st.session_state.get("kept-victims") or []
    st.session_state[key] = [v for v in kept if v in labels] or list(labels[:FIRST])
    chosen = st.multiselect("Victims", labels, key=key, max_selections=MOST_VICTIMS) or list(labels[:1])
    st.query_params["victims"] = chosen
    st.session_state[written] = st.session_state["kept-victims"] = chosen
    return chosen


def rates(found: cell_queries.Answered) -> None:
    """How these victims did on the whole set."""
    cells = found.cells
    table = pd.DataFrame(
        {
            "victim": cells["victim"],
            "case": [case_of(int(c)).name for c in cells["case"]],
            "n": cells["n"],
            "k": cells["k"],
            "ASR": cells["asr"],
            "95% interval": interval_words(cells["low"], cells["high"]),
            "clean accuracy": cells["clean_accuracy"],
            "robust accuracy": cells["robust_accuracy"],
        }
    )
    written = {c: "{:.1%}" for c in ("ASR", "clean accuracy", "robust accuracy")}
    st.dataframe(
        table.style.format(written, na_rep="–"),  # type: ignore[arg-type]
        hide_index=True,
        height=parts.ROW * (len(table) + 1) + 3,
    )
    st.caption(
        f"k of the n images that a victim gets right clean are fooled; {len(found.images):,} images in the set. "
        "Intervals: Wilson's, 95%, over images, these models."
    )


def choose_images(found: cell_queries.Answered, victims: list[str]) -> list[int]:
    """Places of the images that pass the filters."""
    boxes = st.columns(4)
    classes = list(dict.fromkeys(found.by_class["class"]))
    label = pick(boxes[0].selectbox, "Class", [ANY, *classes], "class", ANY)
    words = {ANY: "any", **{str(name): said for name, said in cell_queries.OUTCOMES.items()}}
    outcome = pick(boxes[1].selectbox, "Outcome", list(words), "outcome", ANY, format_func=lambda o: words.get(o, o))
    of, agree = victims[0], ANY
    if len(victims) > 1:
        of = pick(boxes[2].selectbox, "Outcome on", victims, "of", victims[0])
        agree = pick(boxes[3].selectbox, "Agreement", list(AGREE), "agree", ANY, format_func=lambda a: AGREE.get(a, a))
    return cell_queries.filtered(
        found,
        label=None if label == ANY else label,
        outcome=None if outcome == ANY else outcome,
        victim=victims.index(of),
        agree={"agree": True, "disagree": False}.get(agree),
    )


def grid(opened: Opened, made: int, found: cell_queries.Answered, places: list[int]) -> None:
    """A page of images, two beside each other."""
    pages = [str(i + 1) for i in range(-(-len(places) // A_PAGE))]
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    number = int(pick(left.selectbox, f"Page of {len(pages)}", pages, "page", "1"))
    shown = places[(number - 1) * A_PAGE : number * A_PAGE]
    first = (number - 1) * A_PAGE + 1
    right.text(f"Images {first:,} to {first + len(shown) - 1:,} of {len(places):,} that pass.")
    try:
        clean, adversarial = cell_views.pictures(opened, made, shown)
    except CaromError as error:
        st.warning(plain(error))
        pairs = []
    else:
        pairs = list(zip(clean, adversarial, strict=True))
    for start in range(0, len(shown), 2):
        for i, box in enumerate(st.columns(2), start):
            if i < len(shown):
                with box.container(border=True):
                    described(found, shown[i], pairs[i] if pairs else None)
                    if pairs:
                        three(*pairs[i])
                    answers(found, shown[i])
    st.caption(
        "Perturbation: what was added, grey where nothing was, scaled so that its largest change is black or white; "
        "the factor stands below it. Linf and L2: its size, pixels from 0 to 1. Below each image: the victims' "
        "answers, clean → adversarial; their names without what all of them share."
    )


def described(found: cell_queries.Answered, place: int, pair: tuple[picture.Picture, picture.Picture] | None) -> None:
    """What an image is, and how much was added to it."""
    image = found.images.iloc[place]
    said = [f"Label **{plain(image['label'])}**"]
    if image["target"]:
        said.append(f"target **{plain(image['target'])}**")
    said += [plain(image["source"]), f"image {int(image['id'])}"]
    if pair is not None:
        linf, l2 = picture.sizes(*pair)
        said.append(plain(f"linf {linf:.3g}/255, L2 {l2:.2g}"))
    st.markdown(" · ".join(said))


def three(clean: picture.Picture, adversarial: picture.Picture) -> None:
    """Clean, perturbation and adversarial."""
    added, factor = picture.perturbation(clean, adversarial)
    words = f"perturbation × {factor:.2g}" if factor else "nothing was added"
    shown = ((clean, "clean"), (added, words), (adversarial, "adversarial"))
    for box, (image, caption) in zip(st.columns(3), shown, strict=True):
        # a JPEG would change the very pixels that are to be seen
        box.image(picture.png(image), caption=plain(caption), width="stretch", output_format="PNG")


def answers(found: cell_queries.Answered, place: int) -> None:
    """What each victim answered, clean and adversarial."""
    lines = []
    victims = list(found.cells["victim"])
    for i, victim in enumerate(map(short(victims).__getitem__, victims)):
        seen = f"{plain(found.clean[i, place])} → {plain(found.adversarial[i, place])}"
        lines.append(f"{MARKS[found.outcome[i, place]]} **{seen}** · {plain(victim)}")
    st.markdown("  \n".join(lines))


show(page)
