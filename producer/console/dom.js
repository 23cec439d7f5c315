/* Building and changing the page. Text only ever goes in as text, so nothing that a stranger wrote becomes
 * markup; and only what differs is written, so that focus, selection and screen readers are left in peace. */

export const byId = (id) => document.getElementById(id);

/* make("button", { class: "big", type: "button" }, "Start") */
export function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);

    for (const [name, value] of Object.entries(attributes))
        setAttribute(element, name, value);
    element.append(...children);
    return element;
}

export function makeSvg(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);

    for (const [name, value] of Object.entries(attributes))
        element.setAttribute(name, value);
    element.append(...children);
    return element;
}

/* null and false take it away. */
export function setAttribute(element, name, value) {
    if (value === null || value === false)
        element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value === true ? "" : value))
        element.setAttribute(name, value === true ? "" : value);
}

export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

export function show(element, isShown) {
    if (element.hidden === isShown)
        element.hidden = !isShown;
}

/* One child per item, in order. `create(item)` makes it once per key, `update(child, item)` each time. */
export function keyed(parent, items, keyOf, create, update) {
    const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
    const keys = new Set(items.map((item) => String(keyOf(item))));
    const focused = document.activeElement;

    for (const [key, child] of old)
        if (!keys.has(key))
            child.remove();
    let at = parent.firstElementChild;

    for (const item of items) {
        const key = String(keyOf(item));
        const child = old.get(key) ?? create(item);

        child.dataset.key = key;
        if (child === at)
            at = at.nextElementSibling;
        else
            parent.insertBefore(child, at);
        update(child, item);
    }
    /* Whoever was moved lost the focus. */
    if (focused !== document.activeElement && focused.isConnected)
        focused.focus({ preventScroll: true });
}

/* To screen readers, once. */
export function announce(text) {
    setText(byId("announce"), text);
}
