"""Our own suite of checks for estimators of images, in the manner of scikit-learn's.

scikit-learn's suite passes rows of numbers; this one passes images, paths and tables, in every form that the tags
of an estimator promise. A new estimator gets all of it by a line in `public_estimators`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import image_checks_of_arrays as arrays
import image_checks_of_classifiers as classifiers
import image_checks_of_fit as learning
import image_checks_of_parameters as parameters
import image_checks_of_state as state
import image_checks_of_transformers as transformers
from image_forms import forms_of, takes_pixels
from sklearn.base import is_classifier
from sklearn.utils import get_tags

FormCheck = Callable[[Any, str], None]
Check = Callable[[Any], None]


def image_checks(estimator: Any) -> Iterator[tuple[str, Check]]:
    """Yield the checks that an estimator must pass.

    Parameters
    ----------
    estimator : estimator
        A classifier, or a transformer of images, with the parameters that it is to have.

    Yields
    ------
    name : str
        Of the function, with the form of ``X``, or the kind of labels, in brackets.
    check : callable
        Called with the estimator; raises if it does not pass.
    """
    if not (is_classifier(estimator) or hasattr(estimator, "transform")):
        raise TypeError(f"There are image checks of classifiers and transformers; got {type(estimator).__name__}.")
    for form in forms_of(estimator):
        yield from (_bind(check, form) for check in _checks_of_form(estimator, form))
    yield from ((check.__name__, check) for check in _checks_once(estimator))
    if is_classifier(estimator):
        check_labels = classifiers.check_labels_come_back_as_from_scikit_learn
        yield from (_bind(check_labels, kind) for kind in classifiers.LABELS)


def _bind(check: FormCheck, form: str) -> tuple[str, Check]:
    return f"{check.__name__}[{form}]", lambda estimator: check(estimator, form)


def _checks_of_form(estimator: Any, form: str) -> Iterator[FormCheck]:
    yield learning.check_fit_returns_the_estimator_itself
    yield learning.check_nothing_warns
    yield learning.check_what_is_passed_is_left_alone
    yield learning.check_the_same_seed_gives_the_same_bits
    yield learning.check_global_random_states_are_neither_read_nor_changed
    yield learning.check_one_image_alone_is_treated_as_among_others
    yield learning.check_the_order_of_images_does_not_matter
    yield learning.check_some_of_the_images_are_treated_as_among_all
    yield learning.check_the_size_of_batches_does_not_matter
    yield learning.check_the_form_does_not_matter
    yield learning.check_fitted_on_one_form_it_takes_another
    yield learning.check_no_image_at_all_is_refused
    yield learning.check_n_features_in_counts_pixels
    yield state.check_pickled_it_responds_with_the_same_bits
    yield state.check_pickled_before_fit_it_learns_the_same
    yield state.check_dumped_by_joblib_it_responds_with_the_same_bits
    yield state.check_a_deep_copy_stands_on_its_own
    yield state.check_a_clone_is_not_fitted_and_learns_the_same
    yield state.check_an_error_leaves_a_fitted_estimator_as_it_was
    yield state.check_after_a_fit_that_failed_it_responds_as_before_or_not_at_all
    yield state.check_a_second_fit_forgets_the_first
    yield state.check_feature_names_in_are_those_of_columns_of_pixels
    yield state.check_it_shows_itself_as_text_and_html
    yield state.check_in_a_pipeline_it_does_the_same
    if get_tags(estimator).requires_fit:
        yield state.check_before_fit_every_question_is_refused
    if is_classifier(estimator):
        yield learning.check_probabilities_are_probabilities
    else:
        yield transformers.check_fit_transform_is_fit_and_transform
        yield transformers.check_fit_transform_keeps_type_and_shape
        yield transformers.check_feature_names_out_are_those_of_the_columns
        yield transformers.check_a_table_is_given_where_rows_are_and_images_stay_an_array
        yield transformers.check_a_pipeline_can_be_asked_for_a_table
        if hasattr(estimator, "inverse_transform"):
            yield transformers.check_inverse_transform_gives_the_images_back
    if form in ("uint8", "float", "flat", "path_array"):
        yield arrays.check_read_only_arrays_are_taken
        yield arrays.check_read_only_memory_maps_are_taken
        yield arrays.check_the_layout_in_memory_does_not_matter
    if form in ("uint8", "float", "flat"):
        yield arrays.check_images_without_contrast_are_taken
        yield arrays.check_values_outside_of_the_range_are_refused
    if takes_pixels(estimator) and form in ("uint8", "flat", "float", "flat_frame"):
        yield learning.check_images_of_another_size_are_refused_or_keep_it
    if form in ("uint8", "float"):
        yield learning.check_images_of_another_number_of_channels_are_refused
        yield arrays.check_sizes_and_channels
    if form in ("uint8", "flat"):
        yield arrays.check_integers_of_any_type_are_uint8
        yield arrays.check_other_types_are_refused
    if form in ("float", "flat"):
        yield arrays.check_floats_of_any_type_are_taken
    if form == "float":
        yield arrays.check_numbers_that_are_not_finite_are_refused


def _checks_once(estimator: Any) -> Iterator[Check]:
    yield parameters.check_parameters_are_set_and_read
    yield parameters.check_nested_parameters_are_set_and_read
    yield parameters.check_wrong_parameters_are_named_in_fit
    if is_classifier(estimator):
        yield classifiers.check_a_column_of_labels_warns_and_is_taken
        yield classifiers.check_labels_that_are_none_are_refused
        yield classifiers.check_columns_of_probabilities_are_in_the_order_of_classes
        yield classifiers.check_a_class_that_cannot_be_put_aside_is_learnt
        yield classifiers.check_a_label_that_training_never_saw_is_an_error_of_prediction
        yield classifiers.check_batches_of_one_in_training
        yield classifiers.check_batches_of_one_in_validation
        yield classifiers.check_groups_and_weights_reach_a_step_of_a_pipeline
        yield classifiers.check_groups_and_weights_reach_each_fold
    else:
        yield transformers.check_what_it_does_not_take_is_sent_to_the_right_place
