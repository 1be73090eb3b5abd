"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };
  let service = { models: [], explains: false, limits: null };
  let shown = null; // the painting whose translation is on the page, with that translation
  let running = null; // the request that is being answered
  let addresses = []; // of pictures in memory, given back when others take their place

  const words = {
    0: "The service cannot be reached",
    400: "This file cannot be used",
    401: "A token is needed",
    408: "The picture took too long to arrive",
    413: "This picture is too large",
    415: "This kind of file is not taken",
    503: "The service has its hands full",
  };

  function headers() {
    const token = sessionStorage.getItem("token");
    return token ? { Authorization: "Bearer " + token } : {};
  }

  // One request at a time, with its progress; a failure is { status, message, retry }.
  function send(path, file, saying) {
    if (running) running.abort();
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      running = request;
      request.open("POST", path);
      request.responseType = "blob";
      for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      const end = () => {
        if (running !== request) return;
        running = null;
        at("working").hidden = true;
        at("status").textContent = "";
      };
      request.upload.onprogress = (event) => {
        if (!event.lengthComputable) return;
        at("progress").value = event.loaded / event.total;
        at("status").textContent = "Sending the picture";
      };
      request.upload.onload = () => {
        at("progress").removeAttribute("value");
        at("status").textContent = saying;
      };
      request.onerror = () => {
        end();
        reject({ status: 0, message: "Look whether it still runs and whether you are connected, then try again." });
      };
      request.onabort = () => {
        end();
        reject(null);
      };
      request.onload = async () => {
        end();
        if (request.status === 200) return resolve(request.response);
        let message = "";
        try {
          message = JSON.parse(await request.response.text()).error.message;
        } catch {
          message = "It answered with status " + request.status + ".";
        }
        reject({ status: request.status, message, retry: Number(request.getResponseHeader("Retry-After")) });
      };
      at("progress").value = 0;
      at("status").textContent = "Sending the picture";
      at("working").hidden = false;
      request.send(file);
    });
  }

  function clearError() {
    at("error").replaceChildren();
  }

  function showError(problem, again) {
    if (problem === null) return; // cancelled, by the button or by another wish
    const box = element("div", "problem");
    box.append(element("h2", "", words[problem.status] || "That did not work"));
    const sentence = problem.message.charAt(0).toUpperCase() + problem.message.slice(1);
    box.append(element("p", "", /[.!?]$/.test(sentence) ? sentence : sentence + "."));
    if (problem.status === 401) {
      askForToken(again);
    } else if (again && (problem.status === 0 || problem.status >= 500 || problem.status === 408)) {
      const button = element("button", "", "Try again");
      button.type = "button";
      button.addEventListener("click", again);
      box.append(button);
      waitFor(button, problem.retry || 0);
    }
    at("error").replaceChildren(box);
  }

  function waitFor(button, seconds) {
    button.disabled = seconds > 0;
    button.textContent = seconds > 0 ? "Try again in " + seconds + " s" : "Try again";
    if (seconds > 0) setTimeout(() => waitFor(button, seconds - 1), 1000);
  }

  function askForToken(again) {
    const form = at("token-form");
    form.hidden = false;
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", at("token").value.trim());
      form.hidden = true;
      clearError();
      loadService().then((known) => known && again && again());
    };
    at("token").focus();
  }

  // ---- what the service offers

  async function loadService() {
    let response;
    try {
      response = await fetch("v1/models", { headers: headers() });
    } catch {
      showError({ status: 0, message: "Look whether it still runs, then load this page again." });
      return false;
    }
    const said = await response.json().catch(() => null);
    if (!response.ok) {
      const message = said && said.error ? said.error.message : "It answered with status " + response.status + ".";
      showError({ status: response.status, message, retry: Number(response.headers.get("Retry-After")) }, loadService);
      return false;
    }
    clearError();
    service = said;
    at("model").replaceChildren(...service.models.map((model) => new Option(model.name, model.name)));
    at("model-row").hidden = service.models.length < 2;
    const { max_bytes: bytes, max_pixels: pixels } = service.limits;
    at("limits").textContent = "Up to " + megabytes(bytes) + " and " + (pixels / 1e6).toFixed(1) + " megapixels. The service keeps no copy.";
    return true;
  }

  const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0) + " MiB";

  function address(path, parameters) {
    const query = new URLSearchParams(parameters);
    if (service.models.length > 1) query.set("model", shownModel());
    return path + "?" + query;
  }

  // Sources and downloads are of the model that made what is shown, whatever is chosen by then.
  const shownModel = () => (shown ? shown.model : at("model").value);

  // ---- translating

  async function translate(file) {
    clearError();
    if (service.limits && file.size > service.limits.max_bytes) {
      const message = "It has " + megabytes(file.size) + "; the service takes " + megabytes(service.limits.max_bytes) + ".";
      showError({ status: 413, message });
      return;
    }
    shown = null;
    at("result").hidden = true;
    const model = at("model").value;
    try {
      const photo = await send(address("v1/translate", { format: "png" }), file, "Translating the painting");
      await show(file, photo, model);
    } catch (problem) {
      showError(problem, () => translate(file));
    }
  }

  function pictureOf(blob, className, alt) {
    const picture = element("img", className);
    const source = URL.createObjectURL(blob);
    addresses.push(source);
    picture.alt = alt;
    picture.draggable = false;
    picture.src = source;
    return picture;
  }

  async function show(file, photo, model) {
    addresses.forEach((source) => URL.revokeObjectURL(source));
    addresses = [];
    const translation = pictureOf(photo, "", "The translation: a photo of the scene");
    const painting = pictureOf(file, "painting", "The painting");
    await translation.decode();
    // A browser turns a painting upright as the service does; a few formats it cannot show at all.
    const both = await painting.decode().then(() => true, () => false);
    const picture = element("div", "picture");
    at("result").style.setProperty("--aspect", translation.naturalWidth / translation.naturalHeight);
    at("result").style.setProperty("--pixels", 1.5 * translation.naturalWidth);
    picture.append(translation);
    if (both) {
      picture.append(painting, element("div", "line"));
      picture.append(element("span", "name left", "Painting"), element("span", "name right", "Photo"));
      dragging(picture);
    }
    at("stage").replaceChildren(picture);
    at("slide").hidden = !both;
    at("panel").replaceChildren();
    at("sources-button").hidden = !service.explains;
    at("sources-button").disabled = false;
    shown = { file, photo, model, picture, explained: false };
    divide(50);
    at("choose").classList.add("small");
    at("drop").querySelector("b").textContent = "Another painting";
    at("result").hidden = false;
    at("status").textContent = both
      ? "Done. Move the slider to compare" + (service.explains ? ", click the picture to see its sources." : ".")
      : "Done. This browser cannot show the painting's file format, so here is the photo alone.";
    if (service.explains) picture.addEventListener("click", firstWish);
    at("result").scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  // ---- comparing

  function divide(percent) {
    at("divide").value = percent;
    at("divide").setAttribute("aria-valuetext", Math.round(percent) + " % painting");
    const { picture } = shown;
    picture.style.setProperty("--divide", percent + "%");
    picture.classList.toggle("none", percent < 12);
    picture.classList.toggle("whole", percent > 88);
  }

  // The line can also be dragged; a click without a drag is left to the sources.
  function dragging(picture) {
    let from = null;
    let dragged = false;
    picture.addEventListener("pointerdown", (event) => {
      from = event.clientX;
      dragged = false;
    });
    picture.addEventListener("pointermove", (event) => {
      if (from === null || !event.buttons) return;
      if (!dragged && Math.abs(event.clientX - from) < 6) return;
      if (!dragged) picture.setPointerCapture(event.pointerId);
      dragged = true;
      const box = picture.getBoundingClientRect();
      divide(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
    });
    for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (from = null));
    const swallow = (event) => {
      if (dragged) event.stopImmediatePropagation();
      dragged = false;
    };
    picture.addEventListener("click", swallow, true);
  }

  // ---- sources

  function firstWish(event) {
    if (shown && !shown.explained && !running) explain({ clientX: event.clientX, clientY: event.clientY });
  }

  // Of the place that was clicked, if it was a click that asked.
  async function explain(place) {
    const wanted = shown;
    clearError();
    at("sources-button").disabled = true;
    try {
      const answer = await send(address("v1/explain", {}), wanted.file, "Looking for the real photos behind it");
      const explanation = JSON.parse(await answer.text());
      if (shown !== wanted) return;
      wanted.explained = true;
      at("sources-button").hidden = true;
      divide(0);
      showSources(wanted.picture, at("panel"), explanation);
      at("status").textContent = "Done. The photos that each place draws from are below the picture.";
      if (place) wanted.picture.dispatchEvent(new MouseEvent("click", { ...place, bubbles: true }));
      else wanted.picture.focus();
    } catch (problem) {
      at("sources-button").disabled = false;
      showError(problem, () => explain(place));
    }
  }

  // ---- taking it home

  async function download() {
    const format = at("format").value;
    const { file, photo } = shown;
    clearError();
    try {
      const saying = "Making the file";
      const made = format === "png" ? photo : await send(address("v1/translate", { format }), file, saying);
      const link = element("a");
      const stem = (file.name || "painting").replace(/\.[^.]*$/, "");
      link.href = URL.createObjectURL(made);
      link.download = stem + "-photo." + (format === "jpeg" ? "jpg" : format);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (problem) {
      showError(problem, download);
    }
  }

  // ---- choosing

  at("file").addEventListener("change", () => {
    const [file] = at("file").files;
    at("file").value = ""; // the same file may be chosen again
    if (file) translate(file);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", name === "dragover");
      const [file] = name === "drop" ? event.dataTransfer.files : [];
      if (file) translate(file);
    });
  }
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) translate(file);
  });
  at("model").addEventListener("change", () => shown && translate(shown.file));
  at("divide").addEventListener("input", () => divide(Number(at("divide").value)));
  at("cancel").addEventListener("click", () => {
    if (running) running.abort();
    at("status").textContent = "Cancelled.";
  });
  at("sources-button").addEventListener("click", () => explain(null));
  at("download").addEventListener("click", download);
  at("curl").textContent =
    "curl '" + new URL("v1/translate", location.href) + "' -H 'Content-Type: image/jpeg' --data-binary @painting.jpg -o photo.png";
  loadService();
})();
