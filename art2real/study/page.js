"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const study = JSON.parse(at("study").textContent);
  const GAP_MS = 350; // of empty screen between trials: what is clicked in it was meant for the trial before
  const judged = study.total - study.practice;
  const minutes = Math.max(1, Math.ceil((study.total * 5) / 60));
  let language = Object.keys(study.texts)[0];
  let token = location.pathname.startsWith("/p/") ? location.pathname.slice(3) : "";
  let state = null; // where the server says that we are
  let decide = null; // takes the choice, while a trial is open to one
  let entry = null; // the trial that is shown

  const say = (name, places = {}) => {
    const told = { total: study.total, practice: study.practice, judged, minutes, ...places };
    return study.texts[language][name].replace(/\{(\w+)\}/g, (whole, place) => told[place] ?? whole);
  };
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const painted = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

  // ---- words

  function translate() {
    document.documentElement.lang = language;
    document.title = say("title");
    for (const place of document.querySelectorAll("[data-text]")) {
      const name = place.dataset.text;
      place.textContent = say(name === "task" ? "task_" + study.kind : name);
    }
    at("question").textContent = say("question_" + study.kind);
    at("begin").textContent = say(token ? "begin" : "enrol");
    at("attention").hidden = !study.attention;
    at("contact").hidden = !say("contact");
    at("consent-missing").textContent = "";
  }

  function offerLanguages() {
    const names = Object.keys(study.texts);
    for (const name of names) {
      const option = new Option(study.texts[name].language, name);
      option.lang = name;
      at("language").add(option);
    }
    at("language-row").hidden = names.length < 2;
    const base = (name) => name.split("-")[0].toLowerCase();
    const wanted = (navigator.languages || []).map(base);
    language = wanted.map((each) => names.find((name) => base(name) === each)).find(Boolean) || names[0];
    at("language").value = language;
    at("language").addEventListener("change", () => {
      language = at("language").value;
      translate();
    });
  }

  function open(screen) {
    for (const each of ["welcome", "message", "trial"]) at(each).hidden = each !== screen;
    scrollTo(0, 0);
  }

  // A screen of words; resolves when the reader goes on.
  function message(name, { go = null, more = "", places = {} } = {}) {
    at("message-title").textContent = say(name + "_title", places);
    at("message-text").textContent = say(name + "_text", places);
    at("message-more").textContent = more;
    at("go").hidden = go === null;
    at("go").textContent = go || "";
    at("live").textContent = go === null ? at("message-title").textContent : "";
    open("message");
    at("go").focus();
    return new Promise((resolve) => (at("go").onclick = resolve));
  }

  function end(text) {
    at("message-title").textContent = say("title");
    at("message-text").textContent = text;
    at("message-more").textContent = "";
    at("live").textContent = text;
    at("go").hidden = true;
    open("message");
  }

  // A line above everything, with a button that ends the waiting for the next try.
  function notice(text, seconds = 0) {
    const line = document.createElement("p");
    line.textContent = text;
    at("notice").replaceChildren(...(text ? [line] : []));
    if (!seconds) return null;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = say("try_now");
    at("notice").append(button);
    return Promise.race([pause(1000 * seconds), new Promise((resolve) => (button.onclick = resolve))]);
  }

  // ---- the server

  // Asks until there is an answer: all that is sent may be sent twice. Throws { status, code }.
  async function ask(path, body) {
    for (let tries = 0; ; tries++) {
      let response = null;
      let content = null;
      try {
        response = await fetch(path, {
          method: body ? "POST" : "GET",
          headers: { Authorization: "Bearer " + token, ...(body && { "Content-Type": "application/json" }) },
          body: body && JSON.stringify(body),
          cache: "no-store",
          referrerPolicy: "no-referrer",
          signal: AbortSignal.timeout(20_000),
        });
        content = await response.json();
      } catch {
        content = null;
      }
      if (content !== null && response.ok) {
        notice("");
        return content;
      }
      if (content !== null && ![408, 429, 502, 503, 504].includes(response.status)) {
        notice("");
        throw { status: response.status, code: content.error ? content.error.code : "" };
      }
      const asked = response ? Number(response.headers.get("Retry-After")) || 0 : 0;
      await notice(say(response ? "busy" : "lost"), Math.max(asked, Math.min(15, 2 ** tries)));
    }
  }

  // ---- pictures

  const loading = new Map(); // by address: pictures of this and the next trials, decoded

  function picture(address) {
    if (!loading.has(address)) {
      const image = new Image();
      image.draggable = false;
      image.src = address;
      const ready = image.decode().then(() => image);
      ready.catch(() => loading.delete(address));
      loading.set(address, ready);
    }
    return loading.get(address);
  }

  const shownIn = (each) => [each.left, each.right, each.painting].filter(Boolean);

  function preload(upcoming) {
    const wanted = new Set(upcoming.flatMap(shownIn).map((each) => each.url));
    for (const address of loading.keys()) if (!wanted.has(address)) loading.delete(address);
    for (const address of wanted) picture(address);
  }

  async function loaded(each) {
    for (let tries = 0; ; tries++) {
      try {
        const images = await Promise.all(shownIn(each).map((one) => picture(one.url)));
        await Promise.all(images.map((image) => image.decode()));
        if (tries) notice("");
        return images;
      } catch {
        await notice(say("no_picture"), Math.min(15, 2 ** tries));
      }
    }
  }

  function place(frame, image, size, words) {
    image.width = size.width;
    image.height = size.height;
    image.alt = words;
    frame.replaceChildren(image);
  }

  // Side by side where there is room at the pictures' own size, else below each other.
  function arrange() {
    if (!entry) return;
    const room = at("pictures").clientWidth;
    const gap = parseFloat(getComputedStyle(at("pictures")).columnGap);
    const pair = entry.left.width + gap + entry.right.width;
    const all = entry.painting ? pair + gap + entry.painting.width : pair;
    at("pictures").classList.toggle("column", room < pair);
    at("pictures").classList.toggle("above", Boolean(entry.painting) && room >= pair && room < all);
    const percent = shownPercent();
    at("small").textContent = percent < 100 ? say("small_screen", { percent }) : "";
  }

  function shownPercent() {
    const images = [...at("pictures").querySelectorAll("figure:not([hidden]) img")];
    const shares = images.map((image) => image.clientWidth / Number(image.getAttribute("width")));
    return Math.max(1, Math.min(100, Math.round(100 * Math.min(...shares))));
  }

  // ---- trials

  function showProgress(each) {
    const done = each.practice ? each.position + 1 : each.position + 1 - study.practice;
    const all = each.practice ? study.practice : judged;
    const text = say(each.practice ? "practice_progress" : "progress", { done, all });
    at("progress").max = all;
    at("progress").value = done - 1;
    at("progress-text").textContent = text;
    at("live").textContent = text;
  }

  async function judge(each) {
    const gap = pause(GAP_MS);
    at("pictures").classList.add("waiting");
    at("pictures").classList.remove("open");
    at("feedback").hidden = true;
    const [images] = await Promise.all([loaded(each), gap]);
    const fresh = at("trial").hidden;
    entry = each;
    open("trial");
    showProgress(each);
    at("painting").hidden = !each.painting;
    place(at("left"), images[0], each.left, say("first"));
    place(at("right"), images[1], each.right, say("second"));
    if (each.painting) place(at("painting").querySelector(".frame"), images[2], each.painting, say("painting"));
    for (const side of ["left", "right"]) at(side).classList.remove("chosen");
    arrange();
    // Who goes by keyboard keeps the place from trial to trial.
    if (fresh || document.activeElement === document.body) at("question").focus({ preventScroll: true });
    at("pictures").classList.remove("waiting");
    await painted();
    at("pictures").classList.add("open");
    const began = performance.now();
    const choice = await new Promise((resolve) => (decide = resolve));
    const reaction = Math.min(study.most_ms, Math.round(performance.now() - began));
    decide = null;
    at("pictures").classList.remove("open");
    at(choice).classList.add("chosen");
    return {
      position: each.position,
      secret: each.secret,
      choice,
      reaction_ms: reaction,
      shown_percent: shownPercent(),
    };
  }

  async function tell(right) {
    at("feedback-text").textContent = say(right ? "right" : "wrong");
    at("live").textContent = say(right ? "right" : "wrong");
    at("feedback").hidden = false;
    at("next").focus();
    at("feedback").scrollIntoView({ block: "nearest" });
    await new Promise((resolve) => (at("next").onclick = resolve));
    at("question").focus({ preventScroll: true });
  }

  // What is said before a trial: the practice, its end, a break.
  async function before(position, resumed) {
    const number = position - study.practice;
    const places = { done: number, all: judged };
    if (resumed && position > 0) {
      const practising = position < study.practice;
      const next = practising ? { done: position + 1, all: study.practice } : { done: number + 1, all: judged };
      await message("resume", { go: say("next"), more: say("keep_address"), places: next });
    } else if (position === 0 && study.practice > 0) {
      await message("practice", { go: say("practice_start"), more: say("keep_address") });
    } else if (number === 0 && position > 0) {
      await message("practice_end", { go: say("start") });
    } else if (number > 0 && number % study.break_every === 0) {
      await message("break", { go: say("next"), more: say("break_key"), places });
    } else {
      return;
    }
    at("live").textContent = "";
  }

  async function sit() {
    let resumed = true;
    while (!state.finished) {
      preload(state.upcoming);
      await before(state.position, resumed);
      resumed = false;
      await answer();
    }
    message("thanks");
  }

  async function answer() {
    const given = await judge(state.upcoming[0]);
    try {
      const stored = await ask("/api/answer", given);
      state = { ...state, ...stored };
      if (stored.right !== null) await tell(stored.right);
    } catch (problem) {
      if (problem.status !== 409 && problem.code !== "wrong_trial") throw problem;
      state = await ask("/api/state");
      notice(say("elsewhere"));
      const line = at("notice").firstChild;
      setTimeout(() => line.remove(), 8000);
    }
  }

  function choose(side, event) {
    // The second half of a double click belongs to the first.
    if (decide && !(event.detail > 1)) decide(side);
  }

  for (const side of ["left", "right"]) at(side).addEventListener("click", (event) => choose(side, event));
  const keys = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right" };
  document.addEventListener("keydown", (event) => {
    if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
    if (event.key === "Enter" && document.activeElement === document.body && !at("message").hidden) at("go").click();
    const side = keys[event.key];
    if (!side || event.ctrlKey || event.altKey || event.metaKey || at("trial").hidden) return;
    event.preventDefault();
    if (!event.repeat && decide) decide(side);
  });
  addEventListener("resize", arrange);
  // A page that comes back out of the browser's memory may be behind what is stored.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  // ---- from the beginning

  function consented() {
    return new Promise((resolve) => {
      at("consent").addEventListener("change", () => (at("consent-missing").textContent = ""));
      at("consent-form").addEventListener("submit", async (event) => {
        event.preventDefault();
        if (!at("consent").checked) {
          at("consent-missing").textContent = say("consent_missing");
          at("consent").focus();
          return;
        }
        at("begin").disabled = true;
        resolve();
      });
    });
  }

  async function start() {
    offerLanguages();
    translate();
    if (!token && !study.open) return end(say("closed"));
    if (token) state = await ask("/api/state");
    if (!state || !state.consented) {
      open("welcome");
      await consented();
      if (!token) {
        token = (await ask("/api/enrol", {})).token;
        history.replaceState(null, "", "/p/" + token); // from now on, a reload goes on here
      }
      state = await ask("/api/consent", { language, pixel_ratio: Math.min(100, devicePixelRatio) });
    } else if (state.language in study.texts) {
      language = state.language;
      translate();
    }
    await sit();
  }

  start().catch((problem) => {
    end(say(problem && problem.status === 401 ? "unknown_link" : problem && problem.code === "closed" ? "closed" : "broken"));
    if (!problem || !problem.status) throw problem;
  });
})();
