// The decision helper of chapter 2: a form in place of the table, a map of what the reader has decided, a
// decision record to copy, and cases that grade an answer. What it says stands in book/decisions.yml; the
// rules are the same as in book/_ext/decision_rules.py. Without this script there are a table and lists.
(() => {
  const source = document.getElementById("decision-data");
  if (!source) return;
  const { questions, rules, options, notes, examples, prices, measured, kinds } = JSON.parse(source.textContent);
  const LONGEST_NAME = 60, MOST_ENTRIES = 30, MOST_WAYS = 4;
  const optionOf = id => options.find(option => option.id === id);

  // The rules. `given` has the id of an answer by the id of its question.
  const fits = (condition, given) =>
    Object.entries(condition).every(([question, allowed]) => allowed.includes(given[question]));
  const fitsAny = (conditions, given) => (conditions ?? [{}]).some(condition => fits(condition, given));
  const answered = given => questions.flatMap(({ id, answers }) => answers.filter(answer => answer.id === given[id]));
  const reasonsOf = given => answered(given).filter(answer => answer.side && fits(answer.if ?? {}, given));

  function ruleFor(given) {
    const reasons = reasonsOf(given);
    const count = (side, all = reasons) => all.filter(reason => reason.side === side).length;
    const deciders = reasons.filter(reason => reason.decides);
    const [wait, goOn] = [count("wait", deciders), count("go-on", deciders)];
    const deciding = wait && goOn ? "both" : wait ? "wait" : goOn ? "go-on" : "none";
    const ahead = Math.sign(count("wait") - count("go-on"));
    const more = ahead > 0 ? "wait" : ahead < 0 ? "go-on" : "none";
    return rules.findIndex(rule => fitsAny(rule.when, given)
      && (rule.deciding ?? [deciding]).includes(deciding) && (rule.counted ?? more) === more);
  }
  const recommended = given => rules[ruleFor(given)].option;

  // Every way to answer all questions; made once, when it is first needed.
  let all;
  const combinations = () => all ??= questions.reduce(
    (some, { id, answers }) => some.flatMap(given => answers.map(answer => ({ ...given, [id]: answer.id }))), [{}]);

  // What to change for another option: each of the nearest ways, by changed answers, then by steps.
  function nearest(given, option) {
    const place = ({ answers }, id) => answers.findIndex(answer => answer.id === id);
    const away = other => questions.reduce((far, question) => {
      const steps = Math.abs(place(question, given[question.id]) - place(question, other[question.id]));
      return far + (steps && 100 + steps);
    }, 0);
    let least = Infinity, ways = [];
    for (const other of combinations()) {
      const far = away(other);
      if (far > least || recommended(other) !== option) continue;
      if (far < least) [least, ways] = [far, []];
      ways.push(Object.fromEntries(Object.entries(other).filter(([question, id]) => given[question] !== id)));
    }
    return { far: least, ways };
  }
  window.decisionHelper = { combinations, recommended, nearest };

  // Elements. A text is never read as HTML, whoever wrote it; `*words*` are emphasised.
  function make(tag, properties = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value; else element.setAttribute(name, value);
    }
    element.append(...inside.flat());
    return element;
  }
  const rich = text => text.split("*").map((part, number) => number % 2 ? make("em", {}, part) : part);
  const button = (text, click, about = "") => make("button", { type: "button", onclick: click, className: "decision-button" },
    text, about && make("span", { className: "decision-unseen" }, ` ${about}`));
  const lower = text => text[0].toLowerCase() + text.slice(1);
  const plain = text => text.replaceAll("*", "").replace(/\.$/, "");
  const priced = part => (part.prices ?? []).map(name => {
    const links = prices[name].links.flatMap(([text, href], number) => [number ? "; " : "", make("a", { href }, text)]);
    return make("span", { className: "price" }, ...rich(prices[name].text), ". ", ...links, ".");
  });

  // State: the reader's answers, the name of the interaction, the map; all of it in the address.
  let given = {}, entries = [];
  const code = answers => questions.map(question => {
    const place = question.answers.findIndex(answer => answer.id === answers[question.id]);
    return place < 0 ? "-" : place;
  }).join("");
  const decode = text => Object.fromEntries(questions.flatMap(({ id, answers }, number) => {
    const answer = answers[text[number]];
    return answer ? [[id, answer.id]] : [];
  }));
  const complete = answers => questions.every(({ id }) => answers[id]);
  const nameOf = () => name.value.trim().slice(0, LONGEST_NAME);

  function address() {
    const state = new URLSearchParams({ decide: code(given) });
    if (nameOf()) state.set("name", nameOf());
    for (const entry of entries) state.append("map", code(entry.given) + entry.name);
    return `${location.href.split("#")[0]}#${state}`;
  }
  function remember() {
    try { history.replaceState(history.state, "", address()); } catch { /* a frame that may not */ }
  }
  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (!state.has("decide")) return false;
    given = decode(state.get("decide"));
    name.value = (state.get("name") ?? "").slice(0, LONGEST_NAME);
    entries = state.getAll("map").slice(0, MOST_ENTRIES)
      .map(text => ({ given: decode(text), name: text.slice(questions.length, questions.length + LONGEST_NAME) }))
      .filter(entry => complete(entry.given) && entry.name.trim());
    return true;
  }

  // The form.
  const helper = source.parentElement;
  const name = make("input", { type: "text", maxLength: LONGEST_NAME, autocomplete: "off", oninput: () => show() });
  const headline = make("h3", { tabIndex: -1 }, make("output", { "aria-live": "polite" }));
  const result = make("div", { className: "decision-result" });
  const record = make("textarea", { readOnly: true, rows: 12, "aria-label": "The decision record" });
  const recordBox = make("details", {}, make("summary", {}, "The decision record"), record);
  const said = make("output", { "aria-live": "polite", className: "decision-said" });
  const actions = make("div", { className: "decision-actions" },
    button("Add to the boundary map", addToMap), button("Copy the decision record", () => copy(record.value, "record")),
    button("Copy the link", () => copy(address(), "link")), said, recordBox);
  const map = make("div", { className: "boundary-map" });

  const fieldset = ({ id, ask, answers }) => make("fieldset", {}, make("legend", {}, ...rich(ask)),
    answers.map(answer => make("label", {}, make("input", {
      type: "radio", name: `decision-${id}`, value: answer.id, onchange: () => { given[id] = answer.id; show(); },
    }), make("span", {}, ...rich(answer.say)))));
  const form = make("form", { className: "decision-form", onsubmit: event => event.preventDefault() },
    make("p", { className: "decision-examples" }, "Begin with an example, and change it: ",
      examples.map(example => button(example.name, () => answer(decode(codeOf(example)), example.name)))),
    make("p", {}, make("label", {}, "One interaction, in your words: ", name)),
    make("div", { className: "decision-questions" }, questions.map(fieldset)),
    make("p", {}, button("Clear the answers", () => answer({}, ""))), headline, result, actions, map);
  const codeOf = ({ answers }) => questions.map((question, number) =>
    question.answers.findIndex(one => one.id === answers[number])).join("");

  function answer(answers, title = name.value) {
    given = { ...answers };
    name.value = title;
    show();
    headline.focus();
  }

  function show() {
    for (const radio of form.querySelectorAll("input[type=radio]")) {
      radio.checked = given[radio.name.replace("decision-", "")] === radio.value;
    }
    const done = complete(given), count = answered(given).length;
    const option = done && optionOf(recommended(given));
    say(headline.firstChild, done ? `Recommended: ${lower(option.name)}` : `${count} of ${questions.length} questions answered`);
    result.replaceChildren(...done ? told(option) : []);
    actions.hidden = !done;
    record.value = done ? asMarkdown(option) : "";
    said.textContent = "";
    showMap();
    remember();
  }
  const say = (output, text) => { if (output.textContent !== text) output.textContent = text; };

  const reasonsFor = side => reasonsOf(given).filter(reason => reason.side === side)
    .sort((one, other) => (other.decides ?? false) - (one.decides ?? false));
  const notesFor = option => notes.filter(note =>
    (note.options ?? [option.id]).includes(option.id) && fitsAny(note.when, given));
  const flips = option => options.filter(other => other !== option)
    .map(other => ({ other, ...nearest(given, other.id) })).sort((one, next) => one.far - next.far);
  const wayInWords = way => Object.entries(way).map(([question, id]) => {
    const { ask, answers } = questions.find(one => one.id === question);
    return [ask, answers.find(one => one.id === id).say];
  });

  // What is recommended, and all that a reader should know with it.
  function told(option) {
    const list = (title, items) => items.length ? [make("h4", {}, title), make("ul", {}, items)] : [];
    const reasons = side => list(`Reasons for ${kinds[side]}`, reasonsFor(side).map(reason => make("li", {},
      reason.decides ? make("strong", {}, "Decides. ") : "", ...rich(reason.because), priced(reason))));
    return [
      make("p", {}, ...rich(option.is)),
      make("p", {}, `Rule ${ruleFor(given) + 1} of ${rules.length} chooses: ${lower(rules[ruleFor(given)].because)}`),
      ...notesFor(option).map(note => make("p", { className: "decision-note" }, ...rich(note.say), priced(note))),
      ...reasons("wait"), ...reasons("go-on"),
      ...list("What it costs", option.costs.map(cost => make("li", {}, ...rich(cost.say), priced(cost)))),
      ...list("What would have to change for another answer", flips(option).map(({ other, ways, far }) => make("li", {},
        make("strong", {}, other.name), far === flips(option)[0].far ? " is nearest, with " : ", with ",
        ways.length > 1 ? "any of these answers:" : Object.keys(ways[0]).length > 1 ? "these answers:" : "this answer:",
        make("ul", {}, ways.slice(0, MOST_WAYS).map(way => make("li", {},
          wayInWords(way).flatMap(([ask, answer], place) => [place ? " And: " : "", ...rich(ask), " ", make("em", {}, ...rich(answer))]),
          " ", button("Try it", () => answer({ ...given, ...way }), `for ${lower(other.name)}`)))),
        ways.length > MOST_WAYS ? `${ways.length - MOST_WAYS} more are as near.` : ""))),
      make("h4", {}, "To change it later"), make("p", {}, ...rich(option.reversible)),
      make("h4", {}, "The usual misuse"), make("p", {}, ...rich(option.misuse.say), priced(option.misuse)),
    ];
  }

  // The same as a decision record.
  function asMarkdown(option) {
    const bare = text => text.replace(/[\[\]\n]/g, " ");
    const price = part => (part.prices ?? []).map(id => {
      const links = prices[id].links.map(([text, href]) => `[${bare(text)}](${new URL(href, location.href)})`);
      return `\n  - ${prices[id].text}. Claim \`${id}\`: ${links.join(", ")}.`;
    }).join("");
    const reason = ({ because, decides, side, ...part }) =>
      `- For ${kinds[side]}${decides ? ", decides" : ""}: ${because}${price(part)}`;
    const flip = ({ other, ways }) => `- ${other.name}: ${ways.slice(0, MOST_WAYS)
      .map(way => wayInWords(way).map(([ask, answer]) => `${ask} *${plain(answer)}*`).join(" and ")).join("; or ")}.`;
    return [
      `# ${bare(nameOf()) || "An interaction"}: ${lower(option.name)}`, `Decided ${new Date().toISOString().slice(0, 10)}.`,
      "## Context", answered(given).map((one, number) => `- ${questions[number].ask} *${plain(one.say)}*`).join("\n"),
      "## Decision", `${option.name}. ${option.is}`, rules[ruleFor(given)].because,
      ...notesFor(option).map(note => `Note: ${note.say}${price(note).replaceAll("\n  -", "\n\n-")}`),
      "## Reasons", [...reasonsFor("wait"), ...reasonsFor("go-on")].map(reason).join("\n"),
      "## Price", option.costs.map(cost => `- ${cost.say}${price(cost)}`).join("\n"), measured,
      "## What would change it", flips(option).map(flip).join("\n"),
      "## To change it later", option.reversible,
      "## The usual misuse", `${option.misuse.say}${price(option.misuse).replaceAll("\n  -", "\n\n-")}`,
      ...entries.length ? ["## The boundary map", entries.map(entry =>
        `- ${bare(entry.name)}: ${lower(optionOf(recommended(entry.given)).name)}`).join("\n")] : [],
      "## The same, to be continued", `<${address()}>`,
    ].map(part => part.trim()).join("\n\n") + "\n";
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = `The ${what} is copied.`;
    } catch {
      recordBox.open = true;
      record.value = text;
      record.select();
      said.textContent = `This browser does not let a page copy. The ${what} is selected below: copy it from there.`;
    }
  }

  // The map: who is asked before the line, who is told after it.
  function addToMap() {
    const title = nameOf() || `Interaction ${entries.length + 1}`;
    const entry = { given: { ...given }, name: title };
    const place = entries.findIndex(one => one.name === title);
    if (place < 0 && entries.length === MOST_ENTRIES) return void (said.textContent = "The map is full.");
    entries.splice(place < 0 ? entries.length : place, 1, entry);
    show();
    said.textContent = `“${title}” is in the map.`;
  }

  function showMap() {
    if (map.dataset.shown === JSON.stringify(entries)) return;
    map.dataset.shown = JSON.stringify(entries);
    const title = make("h3", { tabIndex: -1 }, "The boundary map");
    const remove = entry => { entries = entries.filter(one => one !== entry); show(); map.firstChild.focus(); };
    const item = entry => {
      const option = optionOf(recommended(entry.given));
      return make("li", { className: option.side }, make("strong", {}, entry.name), make("span", {}, option.name), make("span", {},
        button("Open", () => answer(entry.given, entry.name), entry.name), button("Remove", () => remove(entry), entry.name)));
    };
    map.replaceChildren(title, ...entries.length ? [
      make("p", {}, "Left of the line somebody waits; right of it the work follows when it may."),
      make("ul", {}, entries.map(item)),
    ] : [make("p", {}, "It is empty. Answer the questions for one interaction of your system, add it, and go on with the next.")]);
  }

  const table = helper.querySelector(".decision-table");
  table.open = false;
  table.before(form);
  addEventListener("beforeprint", () => { table.open = !complete(given); });
  addEventListener("hashchange", () => { if (restore()) show(); });
  const came = restore();
  show();
  if (came) helper.scrollIntoView();

  // The cases. What was answered stays on this device, as predictions do.
  const kept = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* no storage: it lasts a visit */ } },
    remove(key) { try { localStorage.removeItem(key); } catch { /* as above */ } },
  };
  const graded = new Map();
  const score = make("output", { "aria-live": "polite" });
  const cases = [...document.querySelectorAll(".decision-case")].map((box, number) => {
    const key = `case ${location.pathname} ${box.id}`;
    const [choices, folded] = [box.querySelector(":scope > ol"), box.querySelector("details")];
    const replies = [...folded.querySelectorAll("li")];
    const reply = make("output", { "aria-live": "polite", className: "decision-reply" });
    const radios = [...choices.children].map((_, place) => make("input", { type: "radio", name: box.id, value: place, required: true }));
    const grade = place => {
      reply.replaceChildren(...[...replies[place].childNodes].map(node => node.cloneNode(true)));
      reply.dataset.grade = replies[place].dataset.grade;
      radios[place].checked = true;
      graded.set(box.id, reply.dataset.grade);
    };
    const ask = box.querySelector(".ask");
    const form = make("form", { onsubmit: event => {
      event.preventDefault();
      const place = radios.findIndex(radio => radio.checked);
      kept.set(key, place);
      grade(place);
      count();
    } }, make("fieldset", {}, make("legend", {}, ...ask.childNodes),
      radios.map((radio, place) => make("label", {}, radio, make("span", {}, ...choices.children[place].childNodes)))),
    make("button", { type: "submit", className: "decision-button" }, "Check",
      make("span", { className: "decision-unseen" }, ` case ${number + 1}`)), reply);
    ask.remove();
    choices.replaceWith(form);
    folded.remove();
    if (replies[kept.get(key) ?? "none"]) grade(kept.get(key));
    return () => { kept.remove(key); form.reset(); reply.replaceChildren(); delete reply.dataset.grade; };
  });
  function count() {
    const grades = [...graded.values()];
    const right = grades.filter(grade => grade === "right").length;
    const closed = grades.filter(grade => grade !== "open").length;
    say(score, `${grades.length} of ${cases.length} answered.${closed ? ` Of ${closed} that have a right answer, ${right} right.` : ""}`);
  }
  if (cases.length) {
    document.querySelector(".decision-case").before(make("p", { className: "decision-score" }, score, " ",
      button("Forget my answers", () => { cases.forEach(forget => forget()); graded.clear(); count(); })));
    count();
  }
})();
