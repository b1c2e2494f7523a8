"""Images: a contact sheet of one set with what victims answer, and one image under all attacks and radii."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts
from carom.app.shell.address import pick, pick_several
from carom.app.shell.frame import ALL, Opened, header, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.cases import case_of
from carom.scenarios.charts import picture
from carom.scenarios.charts.names import short
from carom.scenarios.tables.table import interval_words

A_PAGE = 48  # images of a sheet
FIRST = 3  # victims that are chosen until somebody chooses
MOST_VICTIMS = 12
MOST_SETS = 40  # of one image
SIDE = 112  # pixels of an image on the sheet
CONTROL = "no surrogate (control)"
ANY = "any"
AGREE = {ANY: "any", "agree": "all answer alike", "disagree": "answers differ"}
SHOWN = {"adversarial": "adversarial", "clean": "clean", "added": "change", "three": "all three"}
MARKS: dict[str, str] = {
    "fooled": ":red-badge[fooled]",
    "withstood": ":green-badge[withstood]",
    "wrong clean": ":gray-badge[wrong clean]",
}


def page(opened: Opened) -> float:
    """The images of one adversarial set, filtered by what victims answered; one of them in full."""
    header(opened, "Images")
    if run_queries.state(opened.run) == "published":
        st.info("A published run has rates only, no images. Choose a run of your own.")
        return 0.0
    sets = cell_views.adversarial_sets(opened)
    if sets.empty:
        st.info("No adversarial set has been crafted yet. Images appear here by themselves as soon as one is.")
        return 0.0
    line = st.container(horizontal=True, vertical_alignment="bottom")
    one = choose_set(opened, sets, line)
    made = int(one["set_id"].iloc[0])
    known = cell_views.answering(opened, made)
    if known.empty:
        st.info("No victim has answered this set yet. Choose another one, or wait for the run.")
        return 0.0
    labels = [str(victim) for victim in known["victim"]]
    words = short(labels)
    victims = pick_several(
        line.multiselect,
        "Victims",
        labels,
        "victims",
        labels[:FIRST],
        MOST_VICTIMS,
        format_func=lambda v: words.get(v, v),
        width=300,
    )
    ids = {str(row.victim): int(str(row.victim_id)) for row in known.itertuples()}
    try:
        found = cell_views.answered(opened, made, [ids[v] for v in victims])
    except CaromError as error:
        st.warning(plain(error))
        return 0.0
    if (asked := st.query_params.get("image")) is not None:
        in_full(opened, sets, one, found, asked)
        return 0.0
    places, filtered = choose_images(found, victims, line.popover("Filter", icon=":material/filter_alt:"))
    if not places:
        st.info(
            f"No image passes these filters ({plain(', '.join(filtered))}). Choose another class, outcome or victim, "
            "or set them to any."
        )
    else:
        what = ", ".join([str(one["attack"].iloc[0]), str(one["budget"].iloc[0]), *filtered])
        sheet(opened, made, found, places, what, line)
    with st.expander("Data"):
        rates(found)
    return 0.0


def choose_set(opened: Opened, sets: pd.DataFrame, line: DeltaGenerator) -> pd.DataFrame:
    """One adversarial set, a row: by budget and attack beside the run, by surrogate, then by what is left."""
    budgets = [
        b for b in cell_queries.budgets_in_order(sets) if (sets.loc[sets["budget"] == b, "surrogate"] != "").any()
    ]
    budgets += [b for b in cell_queries.budgets_in_order(sets) if b not in budgets]
    able = sets[(sets["surrogate"] != "") & ~sets["targeted"].astype(bool)]
    usual = [b for b in budgets if b in set(able["budget"])] or budgets
    norm = usual[0].split(" ")[0]
    # a set that the address names by its attack alone has a budget of its own
    of_attack = sets[sets["attack"] == st.query_params.get("attack")]
    largest = [b for b in usual if b.split(" ")[0] == norm][-1]
    if len(of_attack) and largest not in set(of_attack["budget"]):
        largest = str(of_attack["budget"].iloc[0])
    budget = pick(opened.boxes[0].selectbox, "Budget", budgets, "budget", largest)
    sets = sets[sets["budget"] == budget]
    attacks = [str(a) for a in sets["attack"].unique()]
    attacks = sorted(attacks, key=lambda a: not (sets.loc[sets["attack"] == a, "surrogate"] != "").any())
    attack = pick(opened.boxes[1].selectbox, "Attack", [ALL, *attacks], "attack", ALL)
    if attack == ALL:
        attack = attacks[0]
    sets = sets[sets["attack"] == attack]
    surrogates = [str(s) for s in sets["surrogate"].unique()]
    # a control has no surrogate; it comes last, and not by itself
    surrogates = [s for s in surrogates if s] + [s for s in surrogates if not s]
    words = {**short([s for s in surrogates if s]), "": CONTROL}
    surrogate = pick(
        line.selectbox,
        "Surrogate",
        surrogates,
        "surrogate",
        surrogates[0],
        format_func=lambda s: words.get(s, s),
        width=210,
    )
    sets = sets[sets["surrogate"] == surrogate]
    if len(sets) > 1:
        names = [image_queries.set_name(str(row.attack_seed), str(row.asked)) for row in sets.itertuples()]
        chosen = pick(line.selectbox, "Set", names, "set", names[0], width=240)
        sets = sets[[name == chosen for name in names]]
    return sets.head(1)


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


def choose_images(
    found: cell_queries.Answered, victims: list[str], line: DeltaGenerator
) -> tuple[list[int], list[str]]:
    """Places of the images that pass the filters, and these in words."""
    classes = list(dict.fromkeys(found.by_class["class"]))
    label = pick(line.selectbox, "Class", [ANY, *classes], "class", ANY)
    words = {ANY: "any", **{str(name): said for name, said in cell_queries.OUTCOMES.items()}}
    outcome = pick(line.selectbox, "Outcome", list(words), "outcome", ANY, format_func=lambda o: words.get(o, o))
    of, agree, names = victims[0], ANY, short(victims)
    if len(victims) > 1:
        of = pick(line.selectbox, "Outcome on", victims, "of", victims[0], format_func=lambda v: names.get(v, v))
        agree = pick(line.selectbox, "Agreement", list(AGREE), "agree", ANY, format_func=lambda a: AGREE.get(a, a))
    said = [f"class {label}"] if label != ANY else []
    said += [f"{words[outcome]} on {names[of]}"] if outcome != ANY else []
    said += [AGREE[agree]] if agree != ANY else []
    places = cell_queries.filtered(
        found,
        label=None if label == ANY else label,
        outcome=None if outcome == ANY else outcome,
        victim=victims.index(of),
        agree={"agree": True, "disagree": False}.get(agree),
    )
    return places, said


def sheet(
    opened: Opened, made: int, found: cell_queries.Answered, places: list[int], what: str, line: DeltaGenerator
) -> None:
    """A contact sheet: many images with what the first victim answered, one of which can be opened."""
    pages = [str(i + 1) for i in range(-(-len(places) // A_PAGE))]
    shown_as = pick(
        line.selectbox, "Shown", list(SHOWN), "show", "adversarial", format_func=lambda s: SHOWN.get(s, s), width=140
    )
    number = 1
    if len(pages) > 1:
        number = int(pick(line.selectbox, f"Page of {len(pages)}", pages, "page", "1", width=100))
    shown = places[(number - 1) * A_PAGE : number * A_PAGE]
    ids = found.images["id"]
    names = ["", *(str(int(ids.iloc[p])) for p in shown)]
    opening = line.selectbox("Open an image", names, format_func=lambda i: f"image {i}" if i else "–", width=150)
    if opening:
        st.query_params["image"] = opening
        st.rerun()
    first = (number - 1) * A_PAGE + 1
    st.text(f"{what}: images {first:,} to {first + len(shown) - 1:,} of {len(places):,} that pass.")
    try:
        clean, adversarial = cell_views.pictures(opened, made, shown)
    except CaromError as error:
        st.warning(plain(error))
        for place in shown[:A_PAGE]:
            st.markdown(f"{described(found, place)}  \n{answers(found, place)}")
        return
    victims = short(found.cells["victim"])
    whose = victims[str(found.cells["victim"].iloc[0])]
    captions = [
        f"{int(ids.iloc[p])}: {plain(found.clean[0, p])} → {plain(found.adversarial[0, p])}"
        + ("" if found.outcome[0, p] == "withstood" else f" **{found.outcome[0, p]}**")
        for p in shown
    ]
    drawn = [as_asked(shown_as, *pair) for pair in zip(clean, adversarial, strict=True)]
    width = SIDE * 3 if shown_as == "three" else SIDE
    # a JPEG would change the very pixels that are to be seen
    spaced([picture.png(image) for image in drawn], captions, width)
    st.caption(
        f"Below each image its id and the answers of {plain(whose)}, clean → adversarial. Change: grey where nothing "
        "was added, scaled so that the largest change of an image is black or white."
    )


def spaced(images: list[bytes], captions: list[str], width: int) -> None:
    """Images with a little room between them."""
    st.html("<style>.st-key-sheet [data-testid=stImageContainer] {margin: 0 0.5rem 0.25rem 0}</style>")
    with st.container(key="sheet"):
        st.image(images, caption=captions, width=width, output_format="PNG")


def as_asked(shown: str, clean: picture.Picture, adversarial: picture.Picture) -> picture.Picture:
    """The picture of the sheet."""
    if shown == "clean":
        return clean
    if shown == "adversarial":
        return adversarial
    added, _ = picture.perturbation(clean, adversarial)
    return added if shown == "added" else picture.beside(clean, added, adversarial)


def in_full(opened: Opened, sets: pd.DataFrame, one: pd.DataFrame, found: cell_queries.Answered, asked: str) -> None:
    """One image: clean, change and adversarial, then under all attacks and radii with every victim's answer."""
    if st.button("Back to the sheet", icon=":material/arrow_back:"):
        del st.query_params["image"]
        st.rerun()
    places = [i for i, image in enumerate(found.images["id"]) if str(int(image)) == asked]
    if not places:
        st.warning(f"The address asks for image {plain(asked)}, which is not in this run; go back and choose another.")
        return
    place = places[0]
    made = int(one["set_id"].iloc[0])
    left, right = st.columns([3, 2], gap="medium")
    with left:
        try:
            clean, adversarial = cell_views.pictures(opened, made, [place])
        except CaromError as error:
            st.warning(plain(error))
            st.markdown(described(found, place))
        else:
            st.markdown(described(found, place, (clean[0], adversarial[0])))
            three(clean[0], adversarial[0])
    with right:
        st.markdown(answers(found, place))
    surrogate = str(one["surrogate"].iloc[0])
    mine = sets[(sets["surrogate"] == surrogate) & (sets["image_set"] == one["image_set"].iloc[0])]
    cut = f"; the first {MOST_SETS} of {len(mine)}" if len(mine) > MOST_SETS else ""
    mine = mine.head(MOST_SETS).reset_index(drop=True)
    try:
        whole = cell_views.one_image(opened, mine, int(asked))
    except CaromError as error:
        st.warning(plain(error))
        return
    titles = [
        f"{row.attack} · {row.budget}" + (f" · asked {row.asked}" if row.asked else "") for row in mine.itertuples()
    ]
    st.subheader(plain(f"Image {asked} under all attacks and radii of {surrogate or CONTROL}"))
    pictures = [
        (each, title, str(set_id))
        for each, title, set_id in zip(whole.adversarial, titles, mine["set_id"], strict=True)
        if each is not None
    ]
    if whole.clean is not None:
        victims = len(whole.answers)
        captions = ["clean"]
        for _, title, set_id in pictures:
            wrong = int((whole.answers[set_id].notna() & (whole.answers[set_id] != whole.label)).sum())
            captions.append(f"{plain(title)}: {wrong} of {victims} wrong")
        drawn = [picture.png(each) for each in (whole.clean, *(each for each, *_ in pictures))]
        spaced(drawn, captions, SIDE)
    st.subheader("What every victim answers")
    table = whole.answers.rename(columns=dict(zip(mine["set_id"].astype(str), titles, strict=True)))
    label = whole.label
    shaded = table.style.apply(
        lambda row: ["" if c == "victim" or pd.isna(row[c]) or row[c] == label else SHADE for c in row.index], axis=1
    )
    st.dataframe(shaded, hide_index=True, placeholder="–", height=parts.ROW * (min(len(table), 16) + 1) + 3)
    st.caption(f"Shaded: wrong; the class is {plain(label)}. – : this victim did not meet that set{cut}.")


SHADE = "background-color: rgba(213, 94, 0, 0.30)"


def described(
    found: cell_queries.Answered, place: int, pair: tuple[picture.Picture, picture.Picture] | None = None
) -> str:
    """What an image is, and how much was added to it."""
    image = found.images.iloc[place]
    said = [f"Label **{plain(image['label'])}**"]
    if image["target"]:
        said.append(f"target **{plain(image['target'])}**")
    said += [plain(image["source"]), f"image {int(image['id'])}"]
    if pair is not None:
        linf, l2 = picture.sizes(*pair)
        said.append(plain(f"linf {linf:.3g}/255, L2 {l2:.2g}"))
    return " · ".join(said)


def three(clean: picture.Picture, adversarial: picture.Picture) -> None:
    """Clean, perturbation and adversarial."""
    added, factor = picture.perturbation(clean, adversarial)
    words = f"perturbation × {factor:.2g}" if factor else "nothing was added"
    shown = ((clean, "clean"), (added, words), (adversarial, "adversarial"))
    images: Sequence[bytes] = [picture.png(image) for image, _ in shown]
    st.image(list(images), caption=[plain(caption) for _, caption in shown], width=200, output_format="PNG")


def answers(found: cell_queries.Answered, place: int) -> str:
    """What each victim answered, clean and adversarial."""
    lines = []
    victims = list(found.cells["victim"])
    for i, victim in enumerate(map(short(victims).__getitem__, victims)):
        seen = f"{plain(found.clean[i, place])} → {plain(found.adversarial[i, place])}"
        lines.append(f"{MARKS[found.outcome[i, place]]} **{seen}** · {plain(victim)}")
    return "  \n".join(lines)


show(page)
