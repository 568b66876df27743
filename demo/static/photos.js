query => {
  // A query of the visitor's own photos, with those that this tab of the browser keeps (keep.js): one that names them, or
  // one of another tab of the page, since these are not in its address.
  try {
    const {example, tab} = Object.fromEntries(new URLSearchParams(query));
    const named = example === 'own', photos = (named || (tab && !example)) && sessionStorage.getItem('photos');
    return photos ? query + (named ? '' : '&example=own') + '&photos=' + encodeURIComponent(photos) : query;
  } catch { return query; }
}
