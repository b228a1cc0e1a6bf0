/* Everything is there: show the first look, then the charts. */

(async () => {
  listenToTheme();
  listenToControl();
  listenToPrint();
  listenToSave();
  placeDefinitions();
  followReader();
  readAddress();
  showLook();
  const release = holdLoading();
  try {
    await unpackPlotly();
    watchCharts();
  } catch (problem) {
    for (const id of Object.keys(CHARTS)) {
      document.getElementById(id).replaceChildren(element("p", "note", "This browser cannot unpack the charts; the tables hold their numbers."));
    }
    console.warn(`prudent: no charts (${problem})`);
  } finally {
    release();
  }
  document.documentElement.dataset.ready = "1";
})();
